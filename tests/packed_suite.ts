// Experts with packed weights have the bits of experts with decoded weights, on any backend.
import { assertEquals } from "@std/assert";
import { activationRules, activations } from "../src/contract/activations.ts";
import { type Backend, decode, type DType, experts, type ExpertsOptions, type Tensor } from "../mod.ts";
import { numbers } from "./naive.ts";
import { extremes, type Variant, variants } from "./packed_inputs.ts";
import { extras, randomInputs } from "./random_inputs.ts";
import { SmallRandom } from "./small_random.ts";

/** Rounds a size up to a multiple. */
export const multiple = (size: number, unit: number) => Math.ceil(size / unit) * unit;

/** Runs random jobs on a backend: `jobs` for each variant of a format. */
export async function packedSuite(backend: Backend, jobs: number, known: readonly Variant[] = variants): Promise<void> {
  for (const variant of known) {
    for (let seed = 0; seed < jobs; seed++) await comparePacked(backend, variant, seed);
  }
}

async function comparePacked(backend: Backend, { name, unit, make }: Variant, seed: number): Promise<void> {
  const random = new SmallRandom(seed);
  const size = (maximum: number) => random.integer(1, maximum);
  const pick = <Value>(...values: readonly [Value, ...Value[]]) => random.pick(values) ?? values[0];
  const gated = random.chance(0.8);
  const step = seed % 2 ? multiple(8, unit) : unit; // the kernels for packed weights need a multiple of 8
  const shape = {
    ...{ T: size(pick(4, 20, 120)), E: size(5), K: size(3) },
    ...{ H: multiple(size(pick(40, 600)), step), I: multiple(size(pick(40, 300)), step) },
  };
  const dtype = pick<DType>("bf16", "bf16", "f16", "f32");
  const options: ExpertsOptions = {
    weightLayout: "out-in",
    gated,
    gateUpLayout: pick("interleaved", "concatenated"),
    activation: random.pick(gated ? activations : activations.filter((name) => activationRules[name].ungated)),
    expertCapacity: random.chance(0.3) ? size(20) : undefined,
    batchInvariant: random.chance(0.3),
  };
  const { T: _T, H, I, E } = shape;
  const inputs = randomInputs(shape, seed, {
    dtype,
    gated,
    weightLayout: "out-in",
    bias: random.chance(0.5),
    extra: pick(...extras),
  });
  const order = gated && random.chance(0.7) ? { gateUpLayout: options.gateUpLayout } : {};
  const gateUpProj = make(random, [E, gated ? 2 * I : I, H], 1.5 / Math.sqrt(H), order);
  const downProj = make(random, [E, H, I], 1 / Math.sqrt(I));
  const isMixed = random.chance(0.2);
  const dense = { ...inputs, gateUpProj: decode(gateUpProj, dtype), downProj: decode(downProj, dtype) };
  const packed = { ...inputs, gateUpProj, downProj: isMixed ? dense.downProj : downProj };
  const [expected, actual] = [
    await experts(dense, { ...options, backend }),
    await experts(packed, { ...options, backend }),
  ];
  assertEquals(actual, expected, `${name}, job ${seed}: ${JSON.stringify({ ...shape, dtype, ...options })}`);
}

/**
 * Compares weights that have every number and every scale of eight bits, scales of MXFP4 up to a maximum. The bits of a NaN may
 * differ on the CPU, because WebAssembly does not define them.
 */
export async function extremesSuite(backend: Backend, maximumScale = 254): Promise<void> {
  const options = { weightLayout: "out-in", activation: "silu", backend } as const;
  const read = (output: Tensor) => backend.name === "cpu" ? numbers(output) : output.data;
  for (const dtype of ["bf16", "f32"] as const) { // weights for f32 are decoded before the products
    const inputs = randomInputs({ T: 20, H: 256, I: 64, E: 1, K: 1 }, 1, {
      ...{ dtype, weightLayout: "out-in", bias: false }, // a bias would hide small values
    });
    for (const { gateUpProj, downProj } of extremes(maximumScale)) {
      const dense = { gateUpProj: decode(gateUpProj, dtype), downProj: decode(downProj, dtype) };
      const expected = await experts({ ...inputs, ...dense }, options);
      const actual = await experts({ ...inputs, gateUpProj, downProj }, options);
      assertEquals(read(actual), read(expected), `${downProj.format.kind} in ${dtype}`);
    }
  }
}
