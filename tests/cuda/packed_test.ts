// Experts with packed weights on an emulated Hopper: with the kernels that read blocks, in each tile, and where these do not
// apply, by decoding the weights first.
import { assert, assertEquals } from "@std/assert";
import { decode, experts, packed, type PackedTensor, type Tensor, tensor } from "../../mod.ts";
import { multiple, packedSuite } from "../packed_suite.ts";
import { variantNamed, variants } from "../packed_inputs.ts";
import { randomInputs } from "../random_inputs.ts";
import { SmallRandom } from "../small_random.ts";
import { toolkit } from "../toolkit.ts";
import { emulated, openEmulated } from "./emulated.ts";

/** The kernels of each format, the dtypes of their activations, and a variant that they read. */
const kinds = [
  { kind: "mxfp4", dtypes: ["bf16", "f16"], name: "mxfp4" },
  { kind: "nvfp4", dtypes: ["bf16", "f16"], name: "nvfp4, halves" },
  { kind: "int4", dtypes: ["bf16"], name: "int4 of 32" },
  { kind: "int4", dtypes: ["f16"], name: "int4 of 128, zero points" },
  { kind: "int4_split", dtypes: ["bf16"], name: "int4 of 32, zero points, f16" },
  { kind: "fp8", dtypes: ["bf16", "f16"], name: "fp8 of blocks" },
  { kind: "fp8", dtypes: ["bf16", "f16"], name: "fp8 of rows" },
] as const;

/** The variants that the kernels do not read in blocks. */
const unread = ["int4 of 32, zero points", "fp8 of small blocks"];
for (const variant of variants.filter(({ name }) => !unread.includes(name))) {
  Deno.test({
    name: `cuda, ${emulated}, sm_90: random jobs with ${variant.name} have the bits of decoded weights`,
    ignore: !toolkit,
    fn: async () => {
      using backend = (await openEmulated(90)).backend;
      await packedSuite(backend, 20, [variant]);
    },
  });
}

const tiles = [16, 64, 160, 192].flatMap((rows) =>
  kinds.flatMap(({ kind, dtypes, name }) => dtypes.map((dtype) => ({ rows, dtype, kind, name })))
);
for (const { rows, dtype, kind, name } of tiles) {
  const kernel = `${kind}_${rows}_${dtype}`;
  const { make: makeVariant, unit } = variantNamed(name);
  Deno.test({
    name: `cuda, ${emulated}, sm_90: ${kernel} has the bits of decoded weights, ${name}`,
    ignore: !toolkit,
    fn: async () => {
      const { backend, control } = await openEmulated(90, rows);
      const size = (minimum: number) => multiple(minimum, unit);
      using own = backend;
      const cases = [
        { T: 5, H: size(64), I: size(32), E: 3, K: 2 },
        { T: rows + 40, H: size(224), I: size(96), E: 2, K: 1 },
        { T: 2 * rows - 3, H: size(32), I: size(416), E: 3, K: 1 },
      ];
      for (const [seed, { E, H, I, ...shape }] of cases.entries()) {
        const random = new SmallRandom(seed);
        const make = (out: number, inputs: number, scale: number) => makeVariant(random, [E, out, inputs], scale);
        const options = { weightLayout: "out-in", expertCapacity: seed === 1 ? rows + 7 : undefined } as const;
        const extra = seed === 0 ? "addend" : "input weights";
        const inputs = randomInputs({ E, H, I, ...shape }, seed, {
          dtype,
          weightLayout: "out-in",
          extra,
          bias: seed < 2,
        });
        const gateUpProj = make(2 * I, H, 1.5 / Math.sqrt(H)), downProj = make(H, I, 1 / Math.sqrt(I));
        const dense = { gateUpProj: decode(gateUpProj, dtype), downProj: decode(downProj, dtype) };
        const expected = await experts({ ...inputs, ...dense }, { ...options, backend: own });
        const before = control.counters(kernel).launches;
        const call = () => experts({ ...inputs, gateUpProj, downProj }, { ...options, backend: own });
        assertEquals((await call()).data, expected.data, Deno.inspect({ E, H, I, ...shape }));
        assertEquals(control.counters(kernel).launches, before + (rows === 16 ? 1 : 2));
        if (rows === 16) assertEquals((await call()).data, expected.data, "a second call");
      }
    },
  });
}

Deno.test({
  name: `cuda, ${emulated}, sm_90: a block takes more tiles of packed weights by tickets than it has slots for tickets`,
  ignore: !toolkit,
  fn: async () => {
    const { backend, control } = await openEmulated(90, 64);
    using own = backend;
    const options = { weightLayout: "out-in", backend: own } as const;
    const inputs = randomInputs({ T: 140, E: 8, K: 8, H: 64, I: 32 }, 5, { dtype: "bf16", ...options });
    const gateUpProj = mxfp4Weight([8, 64, 64], 120), downProj = mxfp4Weight([8, 64, 32], 120);
    const dense = { gateUpProj: decode(gateUpProj, "bf16"), downProj: decode(downProj, "bf16") };
    const expected = (await experts({ ...inputs, ...dense }, options)).data;
    control.schedule(7, 200);
    for (let i = 0; i < 2; i++) {
      assertEquals((await experts({ ...inputs, gateUpProj, downProj }, options)).data, expected);
    }
    control.schedule(0);
  },
});

Deno.test({
  name:
    `cuda, ${emulated}, sm_90: warps multiply a tile of packed weights that has more steps than its ring has stages`,
  ignore: !toolkit,
  fn: async () => {
    const { backend, control } = await openEmulated(90, 64);
    using own = backend;
    const options = { weightLayout: "out-in", backend: own } as const;
    const inputs = randomInputs({ T: 9, E: 1, K: 1, H: 1024, I: 32 }, 5, { dtype: "bf16", ...options });
    const gateUpProj = mxfp4Weight([1, 64, 1024], 120), downProj = mxfp4Weight([1, 1024, 32], 120);
    const dense = { gateUpProj: decode(gateUpProj, "bf16"), downProj: decode(downProj, "bf16") };
    const expected = (await experts({ ...inputs, ...dense }, options)).data;
    const { launches } = control.counters("mxfp4_64_bf16");
    assertEquals((await experts({ ...inputs, gateUpProj, downProj }, options)).data, expected);
    assertEquals(control.counters("mxfp4_64_bf16").launches, launches + 2);
  },
});

Deno.test({
  name:
    `cuda, ${emulated}, sm_90: mxfp4_16_bf16 has the same bits in any order of threads, also if blocks share its tiles`,
  ignore: !toolkit,
  fn: async () => {
    const { backend, control } = await openEmulated(90, 16);
    using own = backend;
    const options = { weightLayout: "out-in", backend: own } as const;
    // Of the experts some have one tile, whose rows may have any order in each block, and others several.
    const inputs = randomInputs({ T: 50, E: 7, K: 2, H: 160, I: 64 }, 5, {
      ...{ dtype: "bf16", weightLayout: "out-in", extra: "input weights" },
    });
    const { make } = variantNamed("mxfp4"), random = new SmallRandom(5);
    const gateUpProj = make(random, [7, 128, 160], 0.1), downProj = make(random, [7, 160, 64], 0.1);
    const dense = { gateUpProj: decode(gateUpProj, "bf16"), downProj: decode(downProj, "bf16") };
    const expected = (await experts({ ...inputs, ...dense }, options)).data;
    const { launches } = control.counters("mxfp4_16_bf16");
    const schedules = [[0, 0, 1], [1, 0, 0], [2, 0, 1], [3, 7, 2], [4, 50, 3], [5, 400, 5]] as const;
    for (const [seed, preempt, tickets] of schedules) {
      control.schedule(seed, preempt, tickets);
      const { data } = await experts({ ...inputs, gateUpProj, downProj }, options);
      assertEquals(data, expected, `schedule ${seed}, ${preempt}, ${tickets}`);
    }
    assertEquals(control.counters("mxfp4_16_bf16").launches, launches + schedules.length);
    control.schedule(0);
  },
});

Deno.test({
  name: `cuda, ${emulated}, sm_90: packed weights take the memory of their format, and uploading them little more`,
  ignore: !toolkit,
  fn: async () => {
    using backend = (await openEmulated(90)).backend;
    const shape = [128, 192, 128] as const, deep = [64, 192, 512] as const;
    const values = 128 * 192 * 128 / 2, rows = 64 * 192;
    const int4 = variantNamed("int4 of 128, signed"), fp8 = variantNamed("fp8 of rows");
    const weights = [
      { weight: mxfp4Weight(shape, 120), bytes: values * 17 / 16, live: values * 17 / 16 },
      { weight: int4.make(new SmallRandom(1), shape, 1), bytes: values * 33 / 32, live: values * 34 / 32 },
      { weight: fp8.make(new SmallRandom(1), deep, 1), bytes: rows * 514, live: rows * 520 }, // a scale is 2 or 8 bytes
    ];
    for (const { weight, bytes, live } of weights) {
      backend.resetPeakMemory();
      using uploaded = backend.upload(weight);
      assertEquals(backend.memory.liveBytes, live);
      assert(backend.memory.peakBytes <= 1.05 * bytes, `${backend.memory.peakBytes / bytes}`);
      uploaded[Symbol.dispose]();
      uploaded[Symbol.dispose]();
      assertEquals(backend.memory.liveBytes, 0);
    }
  },
});

Deno.test({
  name: `cuda, ${emulated}, sm_90: weights with scales that the kernels cannot read are decoded first`,
  ignore: !toolkit,
  fn: async () => {
    using backend = (await openEmulated(90)).backend;
    const inputs = randomInputs({ T: 3, H: 32, I: 32, E: 2, K: 1 }, 1, { dtype: "bf16", weightLayout: "out-in" });
    const options = { weightLayout: "out-in", backend } as const;
    const downProj = mxfp4Weight([2, 32, 32], 120);
    const weights = [
      mxfp4Weight([2, 64, 32], 129),
      nvfp4Weight([2, 64, 32], 0.01, 1e30),
      nvfp4Weight([2, 64, 32], 2 ** -130, 1),
      int4Weight([2, 64, 32], 0x4300),
      int4Weight([2, 64, 32], 0x0650),
    ];
    for (const gateUpProj of weights) {
      const dense = { gateUpProj: decode(gateUpProj, "bf16"), downProj: decode(downProj, "bf16") };
      const expected = await experts({ ...inputs, ...dense }, options);
      using uploaded = backend.upload(gateUpProj);
      assertEquals(uploaded.format.needsDecoding, true);
      const actual = await experts({ ...inputs, gateUpProj, downProj }, options);
      assertEquals(actual.data, expected.data, gateUpProj.format.kind);
    }
  },
});

/** A weight with one scale. */
function mxfp4Weight(shape: readonly [number, number, number], scale: number): PackedTensor {
  const [E, out, inputs] = shape;
  const bytes = (columns: number, value: number) =>
    tensor(new Uint8Array(E * out * columns).fill(value), [E, out, columns]);
  return packed("mxfp4", { values: bytes(inputs / 2, 0x27), scales: bytes(inputs / 32, scale) }, shape);
}

/** A weight with a global scale for each of two experts. */
function nvfp4Weight(shape: readonly [number, number, number], ...globalScales: readonly number[]): PackedTensor {
  const [E, out, inputs] = shape;
  const bytes = (columns: number, value: number) =>
    tensor(new Uint8Array(E * out * columns).fill(value), [E, out, columns]);
  const parts = { values: bytes(inputs / 2, 0x27), scales: bytes(inputs / 16, 0x38) };
  return packed("nvfp4", { ...parts, globalScales: tensor(new Float32Array(globalScales), [E]) }, shape);
}

/** A weight with one scale of bf16, given as bits. */
function int4Weight(shape: readonly [number, number, number], scale: number): PackedTensor {
  const [E, out, inputs] = shape;
  const values = tensor(new Uint8Array(E * out * inputs / 2).fill(0x27), [E, out, inputs / 2]);
  const scales: Tensor = { dtype: "bf16", shape: [E, out, inputs / 32], data: new Uint16Array(E * out * inputs / 32) };
  scales.data.fill(scale);
  return packed("int4", { values, scales }, shape);
}
