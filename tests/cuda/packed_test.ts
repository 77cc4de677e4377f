// Experts with packed weights on an emulated Hopper: with the kernels that read blocks, in each tile, and where these do not
// apply, by decoding the weights first.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { decode, experts, packed, type PackedTensor, tensor } from "../../mod.ts";
import { multiple, packedSuite } from "../packed_suite.ts";
import { variants } from "../packed_inputs.ts";
import { randomInputs } from "../random_inputs.ts";
import { SmallRandom } from "../small_random.ts";
import { toolkit } from "../toolkit.ts";
import { emulated, openEmulated } from "./emulated.ts";

/** A variant of each format. */
const kinds = {
  mxfp4: "mxfp4",
  nvfp4: "nvfp4, halves",
  int4: "int4 of 128, zero points",
  fp8: "fp8 of blocks",
} as const;

/** The variants that the kernels do not read in blocks. */
const unread = ["int4 of 32, zero points", "fp8 of small blocks"];
for (const variant of variants.filter(({ name }) => !unread.includes(name))) {
  Deno.test({
    name: `cuda, ${emulated}, sm_90: random jobs with ${variant.name} have the bits of decoded weights`,
    ignore: !toolkit,
    fn: async () => {
      using backend = (await openEmulated(90)).backend;
      await packedSuite(backend, 12, [variant]);
    },
  });
}

const tiles = [16, 64, 160, 192].flatMap((rows) =>
  (["bf16", "f16"] as const).flatMap((dtype) =>
    Object.entries(kinds).map(([kind, name]) => ({ rows, dtype, kind, name }))
  )
);
for (const { rows, dtype, kind, name } of tiles) {
  const kernel = `${kind}_${rows}_${dtype}`;
  const { make: makeVariant, unit } = variants.find((variant) => variant.name === name)!;
  Deno.test({
    name: `cuda, ${emulated}, sm_90: ${kernel} has the bits of decoded weights`,
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
        const extra = seed === 1 ? "input weights" : "addend";
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
        const actual = await experts({ ...inputs, gateUpProj, downProj }, { ...options, backend: own });
        assertEquals(control.counters(kernel).launches, before + 2);
        assertEquals(actual.data, expected.data, Deno.inspect({ E, H, I, ...shape }));
      }
    },
  });
}

Deno.test({
  name: `cuda, ${emulated}, sm_90: packed weights take the memory of their format, and uploading them little more`,
  ignore: !toolkit,
  fn: async () => {
    using backend = (await openEmulated(90)).backend;
    const weight = mxfp4Weight([40, 384, 256], 120);
    const bytes = 40 * 384 * 256 * 17 / 32;
    backend.resetPeakMemory();
    using uploaded = backend.upload(weight);
    assertEquals(backend.memory.liveBytes, bytes);
    assert(backend.memory.peakBytes <= 1.05 * bytes, `${backend.memory.peakBytes}`);
    uploaded[Symbol.dispose]();
    uploaded[Symbol.dispose]();
    assertEquals(backend.memory.liveBytes, 0);
  },
});

Deno.test({
  name: `cuda, ${emulated}, sm_90: scales that the kernels do not decode are refused`,
  ignore: !toolkit,
  fn: async () => {
    using backend = (await openEmulated(90)).backend;
    assertThrows(
      () => backend.upload(mxfp4Weight([1, 2, 32], 129)),
      RangeError,
      "scales must be at most 128 (2) on this GPU",
    );
    assertEquals(backend.memory.liveBytes, 0);
  },
});

/** A weight with one scale. */
function mxfp4Weight(shape: readonly [number, number, number], scale: number): PackedTensor {
  const [E, out, inputs] = shape;
  const bytes = (columns: number, value: number) =>
    tensor(new Uint8Array(E * out * columns).fill(value), [E, out, columns]);
  return packed("mxfp4", { values: bytes(inputs / 2, 0x27), scales: bytes(inputs / 32, scale) }, shape);
}
