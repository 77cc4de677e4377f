// Tests of `experts` that every backend must pass. The tests of each backend call `testBackend`.
import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import fc from "./fast_check.ts";
import { type Backend, convert, type DType, experts, type ExpertsOptions, tensor } from "../mod.ts";
import { activationOptions, activations } from "../src/contract/activations.ts";
import { mapInputs } from "../src/contract/experts_inputs.ts";
import { backendTest } from "./backend_case.ts";
import { expertsInputs, Fixture, jobNames, relativeError } from "./fixtures.ts";
import { testMemory } from "./memory_suite.ts";
import { naiveExperts, numbers } from "./naive.ts";
import {
  checkAgainstNaive,
  extras,
  firstTokens,
  randomInputs,
  type RandomShape,
  relativeBounds,
  scaledInputs,
} from "./random_inputs.ts";

/** The activations, with and without a gate. */
const activationKinds: readonly Pick<ExpertsOptions, "activation" | "gated">[] = activations.flatMap((activation) =>
  (activation === "swiglu-oai" ? [true] : [true, false]).map((gated) => ({ activation, gated }))
);

/** Which variants a backend computes. */
export interface Variants {
  readonly dtypes: readonly DType[];
  readonly weightLayouts: readonly NonNullable<ExpertsOptions["weightLayout"]>[];
  /** Whether every activation, with a gate and without, and both gate-up layouts. */
  readonly activations: boolean;
}

/** All there are. */
export const allVariants: Variants = {
  dtypes: ["f16", "bf16", "f32"],
  weightLayouts: ["in-out", "out-in"],
  activations: true,
};

/** Options that say what is computed, and the inputs' that go with them. */
function variantArbitrary({ dtypes, weightLayouts, activations }: Variants) {
  const limits = { activationAlpha: fc.constantFrom(1.702, 1), activationLimit: fc.constantFrom(7, 1, Infinity) };
  return fc.record({
    dtype: fc.constantFrom(...dtypes),
    weightLayout: fc.constantFrom(...weightLayouts),
    gateUpLayout: fc.constantFrom(...(activations ? ["interleaved", "concatenated"] as const : [undefined])),
    kind: fc.constantFrom(...(activations ? activationKinds : [{}])),
    limits: fc.option(fc.record(limits), { nil: {} }),
  }).map(({ kind, limits, ...rest }) => ({
    ...rest,
    ...kind,
    ...activationOptions({ activationAlpha: undefined, activationLimit: undefined, ...kind, ...limits }),
  }));
}

/**
 * Defines the tests of a backend.
 *
 * @param name What the tests are called by.
 * @param open Opens the backend.
 * @param options `ignore` where it cannot run; `multiple`, what H and I must be multiples of; `runs`, how many random jobs;
 * `variants`, what it computes, by default everything.
 */
export function testBackend(
  name: string,
  open: () => Promise<Backend>,
  { ignore = false, multiple = 1, runs = 60, variants = allVariants }: {
    ignore?: boolean;
    multiple?: number;
    runs?: number;
    variants?: Variants;
  } = {},
): void {
  const test = backendTest(name, open, ignore);

  for (const job of jobNames) {
    for (const dtype of variants.dtypes) {
      test(`experts() reproduces the golden job ${job} in ${dtype}`, async (backend) => {
        const fixture = new Fixture(job);
        const options = { expertCapacity: Number(fixture.metadata.capacity), backend };
        const inputsOf = (weights: "top-k" | "dense") =>
          mapInputs(expertsInputs(fixture, weights), (input) => input.dtype === "i32" ? input : convert(input, dtype));
        const inputs = inputsOf("top-k");
        const output = await experts(inputs, options);
        // The goldens' inputs are f16, which f32 holds and bf16 does not.
        const expected = dtype === "bf16" ? naiveExperts(inputs, options).exact : fixture.f64("output_f64");
        assertLessOrEqual(relativeError(numbers(output), expected), relativeBounds[dtype]!);
        const dense = await experts(inputsOf("dense"), options);
        assertEquals(dense.data, output.data);
      });
    }
  }

  test("experts() gives the same bits every time", async (backend) => {
    const inputs = randomInputs({ T: 100, H: 64, I: 96, E: 5, K: 3 }, 1);
    const first = await experts(inputs, { backend });
    for (let i = 0; i < 3; i++) assertEquals((await experts(inputs, { backend })).data, first.data);
  });

  test("experts() agrees with the naive model on random jobs", async (backend) => {
    const size = (max: number) => fc.integer({ min: 1, max: Math.ceil(max / multiple) }).map((n) => n * multiple);
    const job = fc.record({
      shape: fc.record({
        T: fc.integer({ min: 0, max: 70 }),
        H: size(80),
        I: size(80),
        E: fc.integer({ min: 1, max: 9 }),
        K: fc.integer({ min: 1, max: 4 }),
      }),
      seed: fc.integer({ min: 0, max: 1e6 }),
      bias: fc.constantFrom(true, false, "gate-up" as const, "down" as const),
      dense: fc.boolean(),
      variant: variantArbitrary(variants),
      batchInvariant: fc.boolean(),
      spread: fc.constantFrom(0, 0.4, 1),
      expertCapacity: fc.option(fc.integer({ min: 1, max: 40 }), { nil: undefined }),
      extra: fc.constantFrom(...extras),
    });
    const property = fc.asyncProperty(job, async ({ shape, seed, bias, spread, variant, extra, ...job }) => {
      const { dtype, ...variantOptions } = variant;
      const { dense: wanted, ...options } = job;
      const dense = wanted && extra !== "input weights";
      const inputs = randomInputs(shape, seed, { ...variant, bias, dense, spread, extra });
      const routingWeightsLayout = dense ? "dense" : "top-k";
      const error = await checkAgainstNaive(backend, inputs, { ...options, ...variantOptions, routingWeightsLayout });
      // Of few numbers the error is a matter of luck.
      if (shape.T * shape.H > 1000) assertLessOrEqual(error, 1.5 * relativeBounds[dtype]!);
    });
    await fc.assert(property, { numRuns: runs, seed: 1 });
  });

  const kinds = variants.activations ? activationKinds : [{}];
  for (const dtype of variants.dtypes) {
    for (const weightLayout of variants.weightLayouts) {
      const bound = relativeBounds[dtype]!;
      test(`experts() is within ${bound} of float64 in ${dtype}, ${weightLayout}, with every activation`, async (backend) => {
        for (const [i, kind] of kinds.entries()) {
          const gateUpLayout = variants.activations && i % 2 ? "concatenated" : "interleaved";
          const inputs = randomInputs({ T: 64, H: 96, I: 72, E: 4, K: 3 }, 4 + i, { dtype, weightLayout, ...kind });
          const error = await checkAgainstNaive(backend, inputs, { weightLayout, gateUpLayout, ...kind });
          assertLessOrEqual(error, bound, Deno.inspect({ ...kind, gateUpLayout }));
        }
      });
    }

    for (const weightLayout of variants.weightLayouts) {
      test(`experts() scales inputs without a rounding in ${dtype}, ${weightLayout}`, async (backend) => {
        const gateUpLayout = variants.activations ? "concatenated" : "interleaved";
        for (const K of [1, 2]) {
          const shape = { T: 96, H: 96, I: 72, E: 5, K };
          const inputs = scaledInputs(shape, 11 + K, { dtype, weightLayout });
          const options = { weightLayout, gateUpLayout, expertCapacity: 17 * K } as const;
          assertLessOrEqual(await checkAgainstNaive(backend, inputs, options), relativeBounds[dtype]!, `top ${K}`);
        }
        // Powers of two round nothing: the bits are those of inputs that have been scaled before.
        const inputs = scaledInputs({ T: 70, H: 40, I: 24, E: 2, K: 1 }, 13, { dtype, weightLayout });
        const powers = inputs.inputWeights!.data.map((u) => 2 ** Math.floor(4 * u)) as Float32Array;
        const x = convert(inputs.hiddenStates, "f32");
        const scaled = tensor(x.data.map((x, i) => x * powers[Math.floor(i / 40)]!) as Float32Array, x.shape);
        const options = { weightLayout, backend };
        assertEquals(
          (await experts({ ...inputs, inputWeights: tensor(powers, [70, 1]) }, options)).data,
          (await experts({ ...inputs, inputWeights: undefined, hiddenStates: convert(scaled, dtype) }, options)).data,
        );
      });
    }

    for (const makeInputs of [randomInputs, scaledInputs]) {
      const scaled = makeInputs === scaledInputs ? ", with scaled inputs" : "";
      test(`a token's bits do not depend on its batch if they must not, in ${dtype}${scaled}`, async (backend) => {
        const inputs = makeInputs({ T: 300, H: 64, I: 72, E: 2, K: 2 }, 8, { dtype });
        const options = { batchInvariant: true, backend };
        const whole = await experts(inputs, options);
        for (const count of [1, 7, 8, 16, 33, 70, 130]) {
          const part = await experts(firstTokens(inputs, count), options);
          assertEquals(part.data, whole.data.slice(0, count * 64), `${count} tokens`);
        }
      });
    }
  }

  for (const shape of [{ T: 200, H: 64, I: 64, E: 4, K: 2 }, { T: 64, H: 96, I: 200, E: 16, K: 4 }]) {
    test(`experts() is within ${relativeBounds.f16} of float64 on ${JSON.stringify(shape)}`, async (backend) => {
      assertLessOrEqual(await checkAgainstNaive(backend, randomInputs(shape, 4)), relativeBounds.f16!);
    });
  }

  const edges: Record<string, [RandomShape, ExpertsOptions?, Parameters<typeof randomInputs>[2]?]> = {
    "no token": [{ T: 0, H: 8, I: 8, E: 2, K: 1 }],
    "one token, one expert": [{ T: 1, H: 8, I: 8, E: 1, K: 1 }],
    "more experts than assignments": [{ T: 3, H: 16, I: 24, E: 40, K: 2 }],
    "one expert with everything": [{ T: 300, H: 48, I: 40, E: 4, K: 2 }, {}, { spread: 0 }],
    "a capacity of one": [{ T: 50, H: 32, I: 16, E: 3, K: 2 }, { expertCapacity: 1 }],
    "intermediate larger than hidden": [{ T: 40, H: 16, I: 200, E: 3, K: 2 }],
    "hidden larger than intermediate": [{ T: 40, H: 520, I: 8, E: 3, K: 2 }],
    "more depth than one pass of the packed panels": [{ T: 9, H: 1000, I: 808, E: 2, K: 1 }],
    "more rows than one block": [{ T: 1700, H: 8, I: 8, E: 1, K: 1 }],
  };
  for (const [title, [shape, options, kind]] of Object.entries(edges)) {
    test(`experts() handles ${title}`, async (backend) => {
      await checkAgainstNaive(backend, randomInputs(shape, 7, kind), options);
    });
  }

  test("experts() writes zeros for tokens whose every assignment was dropped", async (backend) => {
    const inputs = randomInputs({ T: 20, H: 16, I: 16, E: 1, K: 1 }, 3);
    const { data } = await experts(inputs, { expertCapacity: 4, backend });
    assert(data.subarray(0, 4 * 16).every((value) => value !== 0));
    assert(data.subarray(4 * 16).every((value) => Object.is(value, 0)));
  });

  test("experts() carries NaN and infinity to the token they belong to, and no further", async (backend) => {
    const inputs = randomInputs({ T: 20, H: 16, I: 16, E: 3, K: 2 }, 3);
    const clean = await experts(inputs, { backend });
    inputs.hiddenStates.data[5 * 16] = NaN;
    inputs.hiddenStates.data[9 * 16 + 3] = Infinity;
    const { data } = await experts(inputs, { backend });
    assert(data.subarray(5 * 16, 6 * 16).every(Number.isNaN));
    for (let i = 0; i < data.length; i++) {
      const token = Math.floor(i / 16);
      if (token !== 5 && token !== 9) assertEquals(data[i], clean.data[i]);
    }
  });

  test("experts() computes relu and relu2 of infinities and NaN as PyTorch does", async (backend) => {
    const cases = [[-Infinity, 0, 0], [-2, 0, 0], [3, 3, 9], [Infinity, Infinity, Infinity], [NaN, NaN, NaN]] as const;
    const fill = (value: number, shape: readonly number[]) =>
      tensor(new Float32Array(shape.reduce((a, b) => a * b)).fill(value), shape);
    for (const dtype of ["f32", "bf16"] as const) {
      for (const [x, relu, relu2] of cases) {
        for (const [activation, expected] of [["relu", relu], ["relu2", relu2]] as const) {
          const inputs = mapInputs({
            hiddenStates: fill(0, [1, 16]),
            routerIndices: tensor(Int32Array.of(0), [1, 1]),
            routingWeights: fill(1, [1, 1]),
            gateUpProj: fill(0, [1, 16, 16]),
            gateUpProjBias: fill(x, [1, 16]),
            downProj: fill(1, [1, 16, 16]),
          }, (input) => input.dtype === "f32" ? convert(input, dtype) : input);
          const output = await experts(inputs, { activation, gated: false, backend });
          assertEquals(
            [...convert(output, "f32").data],
            Array(16).fill(16 * expected),
            `${dtype} ${activation} of ${x}`,
          );
        }
      }
    }
  });

  testMemory(test, open);
}
