/**
 * Checks a few rows of an output against float64, without copying a whole tensor to the host.
 *
 * @module
 */
import type { Backend, BackendTensor } from "../backend/backend.ts";
import type { ExpertsInputs, ExpertsOptions } from "../contract/experts.ts";
import { type ResolvedExperts, resolveExperts } from "../contract/resolve_experts.ts";
import { isPacked } from "../tensor/packed_tensor.ts";
import { convert, elementCount, type Tensor, tensor, zeros } from "../tensor/tensor.ts";
import type { WeightReader } from "../workload/weight_reader.ts";
import { errorBounds } from "./check.ts";
import { keptMask, referenceRow } from "./reference.ts";

/** The error of a few rows varies around the error of the whole output. This many bounds are allowed for it. */
export const sampleTolerance = 2;

/** An element may differ by this many bounds times the sum of its own size and the root mean square of its row. */
const elementFactor = 8;

/** An element of the output that is wrong. */
export interface BadElement {
  readonly token: number;
  readonly column: number;
  readonly actual: number;
  readonly expected: number;
}

/** The result of a check of sampled rows. */
export interface SampleCheck {
  /** Number of rows that were compared. */
  readonly samples: number;
  /** ‖error‖ / ‖result‖ over those rows. */
  readonly error: number;
  /** The largest error that passes. */
  readonly bound: number;
  /** The first element that differs too much, or the worst one if only the total error is too large. Null if all is right. */
  readonly bad: BadElement | null;
}

/** Thrown if an output differs from float64. */
export class MismatchError extends Error {
  override name = "MismatchError";

  constructor({ samples, error, bound, bad }: SampleCheck) {
    const { token, column, actual, expected } = bad!;
    super(
      `The output is wrong: element [${token}, ${column}] is ${actual}, and float64 gives ${expected} ` +
        `(relative error over ${samples} tokens ${error.toExponential(2)}, bound ${bound.toExponential(2)})`,
    );
  }
}

/** How rows are sampled. */
export interface Sampling {
  /**
   * The number of tokens to check. They are spread over the tokens with an assignment that was kept. The default takes about a
   * second.
   */
  readonly samples?: number | undefined;
  /** A factor of the error bound of a whole output, 1 by default. */
  readonly tolerance?: number | undefined;
  /** Reads a weight that is packed. */
  readonly readWeight?: WeightReader | undefined;
}

/** The number of tokens that float64 computes in about a second on one thread, at most 16. */
export function affordableSamples({ hidden, intermediate, topK }: ResolvedExperts): number {
  return Math.max(1, Math.min(16, Math.floor(2e8 / (3 * hidden * intermediate * topK))));
}

/**
 * Compares some rows of an output with float64.
 *
 * @param backend The backend that holds the tensors.
 * @param inputs The inputs of the call.
 * @param output The output of the call, [T, H].
 * @param options The options of the call.
 * @param sampling How the rows are sampled.
 * @returns The error, and the first wrong element.
 * @throws {TypeError} If a weight is packed, and `readWeight` is absent.
 */
export async function checkSample(
  backend: Backend,
  inputs: ExpertsInputs<BackendTensor>,
  output: BackendTensor,
  options: ExpertsOptions,
  { samples, tolerance = 1, readWeight }: Sampling = {},
): Promise<SampleCheck> {
  const shape = resolveExperts(inputs, options);
  const indices = (await backend.download(inputs.routerIndices)).data;
  const kept = keptMask(indices, shape);
  const tokens = sampleTokens(kept, shape.topK, samples ?? affordableSamples(shape));
  const expected = await addendRows(backend, inputs, shape, tokens);
  const uses = await sampleUses(backend, inputs, shape, { indices, kept, tokens });
  await addExpertRows(backend, inputs, shape, { uses, readWeight }, expected);
  return await compareRows(backend, output, shape, { tokens, expected, tolerance });
}

/**
 * Compares rows of an output with the expected ones.
 *
 * @param rows `tokens` are the numbers of the rows, `expected` are their values.
 */
export async function compareRows(
  backend: Backend,
  output: BackendTensor,
  shape: ResolvedExperts,
  { tokens, expected, tolerance = 1 }: {
    readonly tokens: readonly number[];
    readonly expected: readonly Float64Array[];
    readonly tolerance?: number;
  },
): Promise<SampleCheck> {
  const bound = tolerance * errorBounds[shape.dtype as keyof typeof errorBounds];

  // Below the normal range of f16, rounding is absolute: half of 2^-24 for each slot's row, and once more for the sum.
  const floor = shape.dtype === "f16" ? (shape.topK + 1) * 2 ** -25 : 0;
  let error = 0, norm = 0;
  let first: BadElement | undefined, worst: BadElement | undefined, worstDistance = -1;
  for (const [i, token] of tokens.entries()) {
    const { data } = await part(backend, output, token);
    const row = expected[i]!;
    const size = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0) / row.length);
    for (const [column, value] of row.entries()) {
      const actual = data[column]!, distance = Math.max(0, Math.abs(actual - value) - floor);
      error += distance ** 2;
      norm += value ** 2;
      const element = { token, column, actual, expected: value };
      if (!(distance <= elementFactor * bound * (Math.abs(value) + size))) first ??= element; // also true for NaN
      if (distance > worstDistance) [worst, worstDistance] = [element, distance];
    }
  }
  const relative = norm === 0 ? Math.sqrt(error) : Math.sqrt(error / norm);
  const bad = first ?? (relative <= bound ? null : worst ?? null);
  return { samples: tokens.length, error: relative, bound, bad };
}

/** An assignment of a sampled token. */
export interface SampleUse {
  /** The number of the token among the sampled ones. */
  readonly row: number;
  readonly expert: number;
  /** The token's hidden state. */
  readonly hidden: readonly number[];
  readonly weight: number;
  readonly inputWeight: number;
}

/** Reads the kept assignments of some tokens. */
export async function sampleUses(
  backend: Backend,
  { hiddenStates, routingWeights, inputWeights }: ExpertsInputs<BackendTensor>,
  { topK, denseWeights }: ResolvedExperts,
  { indices, kept, tokens }: {
    readonly indices: ArrayLike<number>;
    readonly kept: readonly boolean[];
    readonly tokens: readonly number[];
  },
): Promise<SampleUse[]> {
  const uses: SampleUse[] = [];
  for (const [row, token] of tokens.entries()) {
    const hidden = [...(await part(backend, hiddenStates, token)).data];
    const weights = (await part(backend, routingWeights, token)).data;
    const scales = inputWeights && (await part(backend, inputWeights, token)).data;
    for (let slot = 0; slot < topK; slot++) {
      const assignment = token * topK + slot, expert = indices[assignment];
      if (!kept[assignment] || expert === undefined) continue;
      const weight = weights[denseWeights ? expert : slot] ?? 0;
      uses.push({ row, expert, hidden, weight, inputWeight: scales?.[slot] ?? 1 });
    }
  }
  return uses;
}

/** Adds the weighted outputs of experts to rows, in float64. The host holds the weights of one expert at a time. */
export async function addExpertRows(
  backend: Backend,
  inputs: Pick<ExpertsInputs<BackendTensor>, "gateUpProj" | "gateUpProjBias" | "downProj" | "downProjBias">,
  shape: ResolvedExperts,
  { uses, readWeight }: { readonly uses: readonly SampleUse[]; readonly readWeight?: WeightReader | undefined },
  rows: readonly Float64Array[],
): Promise<void> {
  const readExpert: WeightReader = async (name, expert) => {
    const weight = inputs[name];
    if (!isPacked(weight)) return await part(backend, weight, expert);
    if (!readWeight) throw new TypeError(`readWeight must be given for packed weights such as ${name}`);
    return widened(await readWeight(name, expert));
  };
  const oneExpert = { ...shape, tokens: 1, topK: 1, experts: 1, denseWeights: false };
  const one = (value: number) => tensor(Float32Array.of(value), [1, 1]);
  for (const [expert, group] of Map.groupBy(uses, ({ expert }) => expert)) {
    const weights = {
      gateUpProj: await readExpert("gateUpProj", expert),
      downProj: await readExpert("downProj", expert),
      gateUpProjBias: inputs.gateUpProjBias && await part(backend, inputs.gateUpProjBias, expert),
      downProjBias: inputs.downProjBias && await part(backend, inputs.downProjBias, expert),
    };
    for (const { row, hidden, weight, inputWeight } of group) {
      const result = referenceRow(
        {
          ...{ ...weights, hiddenStates: tensor(Float32Array.from(hidden), [1, shape.hidden]) },
          ...{ routerIndices: tensor(new Int32Array(1), [1, 1]), routingWeights: one(weight) },
          inputWeights: one(inputWeight),
        },
        oneExpert,
        [true],
        0,
      );
      rows[row]?.forEach((sum, h, sums) => sums[h] = sum + (result[h] ?? 0));
      await new Promise((resolve) => setTimeout(resolve)); // lets the event loop handle an interrupt
    }
  }
}

/** Returns rows with what is added to the experts' sums of some tokens. */
export function addendRows(
  backend: Backend,
  inputs: Pick<ExpertsInputs<BackendTensor>, "addend" | "addendWeights">,
  { hidden }: ResolvedExperts,
  tokens: readonly number[],
): Promise<Float64Array[]> {
  return Promise.all(tokens.map((token) => addendRow(backend, inputs, token, hidden)));
}

/** Returns what is added to the experts' sum of a token. */
async function addendRow(
  backend: Backend,
  { addend, addendWeights }: Pick<ExpertsInputs<BackendTensor>, "addend" | "addendWeights">,
  token: number,
  hidden: number,
): Promise<Float64Array> {
  if (!addend) return new Float64Array(hidden);
  const weight = addendWeights ? (await part(backend, addendWeights, token)).data[0] ?? 1 : 1;
  return Float64Array.from((await part(backend, addend, token)).data, (value) => weight * value);
}

/** Reads one entry along a tensor's first dimension to the host. */
async function part(backend: Backend, source: BackendTensor, index: number): Promise<Tensor> {
  const shape = [1, ...source.shape.slice(1)];
  const length = elementCount(shape);
  const result = zeros(source.dtype, shape);
  const range = { start: index * length, end: (index + 1) * length };
  await backend.read(source, (piece, start) => result.data.set(piece, start - range.start), range);
  return widened(result);
}

/** Converts bf16 to f32, whose array has the values. */
function widened(tensor: Tensor): Tensor {
  return tensor.dtype === "bf16" ? convert(tensor, "f32") : tensor;
}

/** Selects tokens spread over the job, from those with an assignment that was kept. */
export function sampleTokens(kept: readonly boolean[], topK: number, samples: number): number[] {
  const served: number[] = [];
  for (let assignment = 0; assignment < kept.length; assignment++) {
    if (!kept[assignment]) continue;
    const token = Math.floor(assignment / topK);
    if (served.at(-1) !== token) served.push(token);
  }
  const count = Math.min(samples, served.length);
  return Array.from({ length: count }, (_, i) => served[Math.floor(i * served.length / count)]!);
}
