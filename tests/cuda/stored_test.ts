// Experts with packed weights on emulated GPUs, with the kernels that read the weights as they are published.
import { assert, assertEquals } from "@std/assert";
import { decode, experts } from "../../mod.ts";
import { weightBytes } from "../../src/contract/weights.ts";
import { variants } from "../packed_inputs.ts";
import { extremesSuite, packedSuite } from "../packed_suite.ts";
import { randomInputs } from "../random_inputs.ts";
import { SmallRandom } from "../small_random.ts";
import { toolkit } from "../toolkit.ts";
import { emulated, openEmulated } from "./emulated.ts";

const ignore = !toolkit;

for (const arch of [75, 80, 90]) {
  Deno.test({
    name: `cuda, ${emulated}, sm_${arch}: random jobs with packed weights have the bits of decoded weights`,
    ignore,
    fn: async () => {
      using backend = (await openEmulated(arch)).backend;
      await packedSuite(backend, 5, variants.filter(({ name }) => arch < 90 || name !== "mxfp4")); // see packed_test.ts
    },
  });
}

for (const [arch, dtype] of [[75, "f16"], [80, "bf16"]] as const) {
  for (const rows of [64, 128]) {
    Deno.test({
      name: `cuda, ${emulated}, sm_${arch}: tiles of ${rows} rows have the bits of decoded weights in every format`,
      ignore,
      fn: async () => {
        const { backend, control } = await openEmulated(arch, rows);
        using own = backend;
        for (const [seed, { name, make }] of variants.entries()) {
          if (name === "fp8 of small blocks") continue; // no product reads these as they are stored
          const random = new SmallRandom(seed);
          const gateUpLayout = seed % 2 ? "concatenated" : "interleaved";
          const options = { weightLayout: "out-in", gateUpLayout, expertCapacity: rows + 3, backend: own } as const;
          const [H, I] = name.includes("128") ? [256, 128] : [160, 96];
          const inputs = randomInputs({ T: 2 * rows, H, I, E: 3, K: 1 }, seed, {
            ...{ dtype, weightLayout: "out-in", bias: seed % 3 > 0 },
            extra: seed % 5 ? "addend" : "input weights",
          });
          const gateUpProj = make(random, [3, 2 * I, H], 0.1, { gateUpLayout }),
            downProj = make(random, [3, H, I], 0.1);
          const kernels = ["gated", "plain"].map((kind) =>
            `${kind}_${rows}_${dtype}_${name.startsWith("fp8") ? 8 : 4}bit`
          );
          const launches = () => kernels.map((kernel) => control.counters(kernel).launches);
          const expected = await experts(
            { ...inputs, gateUpProj: decode(gateUpProj, dtype), downProj: decode(downProj, dtype) },
            options,
          );
          const before = launches();
          const actual = await experts({ ...inputs, gateUpProj, downProj }, options);
          assertEquals(actual.data, expected.data, name);
          assertEquals(launches(), before.map((count) => count + 1), name);
          assertEquals(kernels.map((kernel) => control.counters(kernel).bankConflicts), [0, 0], name);
        }
      },
    });
  }
}

// On Hopper, weights in MXFP4 with scales above 128 are decoded first.
for (const [arch, maximumScale] of [[80, 254], [90, 128], [90, 254]] as const) {
  Deno.test({
    name: `cuda, ${emulated}, sm_${arch}: all numbers and scales of eight bits, those of MXFP4 up to ${maximumScale}`,
    ignore,
    fn: async () => {
      using backend = (await openEmulated(arch)).backend;
      await extremesSuite(backend, maximumScale);
    },
  });
}

Deno.test({
  name: `cuda, ${emulated}, sm_80: a call with packed weights takes the memory of their format`,
  ignore,
  fn: async () => {
    using backend = (await openEmulated(80)).backend;
    for (const { name, make } of variants) {
      if (name === "fp8 of small blocks") continue; // decoded before the product
      const inputs = randomInputs({ T: 3, H: 384, I: 256, E: 8, K: 2 }, 1, { dtype: "bf16", weightLayout: "out-in" });
      const random = new SmallRandom(1), shapes = [[8, 512, 384], [8, 384, 256]] as const;
      const gateUpProj = make(random, shapes[0], 0.1), downProj = make(random, shapes[1], 0.1);
      const bytes = weightBytes(gateUpProj.format, shapes[0]) + weightBytes(downProj.format, shapes[1]);
      const activations = 2 * (2 * 3 * 384 + 6 * (384 + 256) + 8 * (512 + 384)); // and the biases
      backend.resetPeakMemory();
      await experts({ ...inputs, gateUpProj, downProj }, { weightLayout: "out-in", backend });
      assert(
        backend.memory.peakBytes <= 1.05 * (bytes + activations),
        `${name}: ${backend.memory.peakBytes}, ${bytes}`,
      );
      assertEquals(backend.memory.liveBytes, 0);
    }
  },
});
