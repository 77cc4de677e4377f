// Random inputs of `experts`, and the comparison of a backend with the naive model on them.
import { assert, assertEquals } from "@std/assert";
import {
  type Backend,
  convert,
  type DenseInputs,
  type DType,
  experts,
  type ExpertsOptions,
  Generator,
  type Tensor,
  tensor,
} from "../mod.ts";
import type { BackendTensor } from "../src/backend/backend.ts";
import { relativeError } from "./fixtures.ts";
import { naiveExperts, numbers } from "./naive.ts";

/** The bound on ‖error‖ / ‖result‖. */
export const relativeBounds: Readonly<Partial<Record<DType, number>>> = { f16: 3.7e-4, bf16: 3e-3, f32: 5e-6 };

/** The sizes of a random job. */
export interface RandomShape {
  T: number;
  H: number;
  I: number;
  E: number;
  K: number;
}

/** What else there is to say of random inputs. */
export interface RandomInputsOptions extends Pick<ExpertsOptions, "gated" | "weightLayout"> {
  dtype?: DType;
  /** Which biases there are. */
  bias?: boolean | "gate-up" | "down";
  dense?: boolean;
  /** 0 sends all tokens to one expert, 1 spreads them evenly. */
  spread?: number;
  /** Which of the inputs that may be left out there are, and whether the routing weights are f32. */
  extra?: typeof extras[number];
}

/** The choices of optional inputs. */
export const extras = ["none", "f32 weights", "addend", "addend with weights", "input weights"] as const;

/** Inputs of the given sizes from a seed. */
export function randomInputs(
  { T, H, I, E, K }: RandomShape,
  seed: number,
  { dtype = "f16", bias = true, dense = false, spread = 1, gated = true, weightLayout = "in-out", extra = "none" }:
    RandomInputsOptions = {},
): DenseInputs {
  const random = new Generator(seed);
  const normal = (shape: number[], scale: number) =>
    convert(tensor(random.randn(shape).data.map((x) => x * scale) as Float32Array, shape), dtype);
  const weights = (E: number, input: number, output: number, scale: number) =>
    normal(weightLayout === "in-out" ? [E, input, output] : [E, output, input], scale);
  const indices = Int32Array.from(random.rand([T, K]).data, (u) => Math.min(E - 1, Math.floor(u * spread * E)));
  const W = gated ? 2 * I : I;
  return {
    hiddenStates: normal([T, H], 1),
    routerIndices: tensor(indices, [T, K]),
    routingWeights: extra === "f32 weights" ? random.randn([T, dense ? E : K]) : normal([T, dense ? E : K], 1),
    inputWeights: extra === "input weights" ? random.rand([T, K]) : undefined,
    addend: extra.startsWith("addend") ? normal([T, H], 1) : undefined,
    addendWeights: extra === "addend with weights" ? random.randn([T, 1]) : undefined,
    gateUpProj: weights(E, H, W, 1.5 / Math.sqrt(H)),
    gateUpProjBias: bias === true || bias === "gate-up" ? normal([E, W], 0.5) : undefined,
    downProj: weights(E, I, H, 1 / Math.sqrt(I)),
    downProjBias: bias === true || bias === "down" ? normal([E, H], 0.5) : undefined,
  };
}

/** The same, and weights of the inputs, and an addend. */
export function scaledInputs(shape: RandomShape, seed: number, options: RandomInputsOptions = {}): DenseInputs {
  const { addend } = randomInputs(shape, seed + 1, { ...options, extra: "addend" });
  return { ...randomInputs(shape, seed, { ...options, extra: "input weights" }), addend };
}

/** Runs the op, compares each element with the naive model and returns the relative error of the whole. */
export async function checkAgainstNaive(
  backend: Backend,
  inputs: DenseInputs,
  options: ExpertsOptions = {},
): Promise<number> {
  const output = await experts(inputs, { ...options, backend });
  assertEquals(output.dtype, inputs.hiddenStates.dtype);
  const actual = numbers(output);
  const { exact, tolerance } = naiveExperts(inputs, options);
  for (let i = 0; i < exact.length; i++) {
    const near = Math.abs(actual[i]! - exact[i]!) <= tolerance[i]!;
    assert(near, `element ${i}: ${actual[i]}, expected ${exact[i]} within ${tolerance[i]}`);
  }
  return relativeError(actual, exact);
}

/** The first of a job's tokens. */
export function firstTokens(inputs: DenseInputs, count: number): DenseInputs {
  const first = ({ dtype, data, shape: [, width] }: Tensor) =>
    tensor(data.slice(0, count * width!), [count, width!], dtype);
  const { inputWeights, addend, addendWeights } = inputs;
  return {
    ...inputs,
    hiddenStates: first(inputs.hiddenStates),
    routerIndices: first(inputs.routerIndices),
    routingWeights: first(inputs.routingWeights),
    inputWeights: inputWeights && first(inputWeights),
    addend: addend && first(addend),
    addendWeights: addendWeights && first(addendWeights),
  };
}

/**
 * Inputs whose first token has an infinity in the last column. The weights there are positive, so that the activations are
 * finite, unless a kernel multiplies the infinity by the zeros after the last weights.
 */
export function infiniteInputs(shape: RandomShape, seed: number): DenseInputs {
  const inputs = randomInputs(shape, seed);
  const { hiddenStates, gateUpProj } = inputs;
  hiddenStates.data[shape.H - 1] = Infinity;
  const { data } = gateUpProj, width = 2 * shape.I, matrix = shape.H * width;
  for (let end = matrix; end <= data.length; end += matrix) {
    for (let i = end - width; i < end; i++) data[i] = Math.abs(data[i]!);
  }
  return inputs;
}

/** Uploads inputs of which some assignments are to unknown experts. Indices in the host's memory would be refused. */
export function uploadUnknownExperts(
  backend: Backend,
  scope: DisposableStack,
  shape: RandomShape,
  seed: number,
): DenseInputs<BackendTensor> {
  const inputs = randomInputs(shape, seed);
  inputs.routerIndices.data.set([shape.E, -1, 2 ** 31 - 1, -(2 ** 31)], 1);
  const upload = (input: Tensor | undefined) => input && scope.use(backend.upload(input));
  return Object.fromEntries(
    Object.entries(inputs).map(([name, input]) => [name, upload(input)]),
  ) as unknown as DenseInputs<BackendTensor>;
}
