// The calls of the ranks' programs.
import type { ExpertsInputs } from "../../src/contract/experts.ts";
import { mapInputs } from "../../src/contract/experts_inputs.ts";
import type { ParallelExpertsOptions } from "../../src/parallel/resolve.ts";
import type { BackendTensor } from "../../src/tensor/backend_tensor.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import { sliceExperts, sliceRows } from "./slices.ts";

/** Some experts, or some tokens. */
interface Range {
  start: number;
  end: number;
}

/** Returns the tokens of a rank. */
export function tokensOf(tokensPerRank: readonly number[], rank: number): Range {
  const start = tokensPerRank.slice(0, rank).reduce((sum, n) => sum + n, 0);
  return { start, end: start + (tokensPerRank[rank] ?? 0) };
}

/** Returns the inputs of a rank: the weights of its experts, and its tokens. */
export function sliceInputs(inputs: ExpertsInputs, experts: Range, tokens: Range): ExpertsInputs {
  const slices = Object.entries(inputs).filter(([, value]) => value !== undefined).map(([name, value]) => [
    name,
    /Proj/.test(name) ? sliceExperts(value, experts) : sliceRows(value, tokens),
  ]);
  return Object.fromEntries(slices) as ExpertsInputs;
}

/** Runs a call on a backend. */
export async function run(
  backend: { upload(tensor: Tensor): BackendTensor; download(tensor: BackendTensor): Promise<Tensor> } & {
    experts(inputs: ExpertsInputs<BackendTensor>, options: ParallelExpertsOptions): Promise<BackendTensor>;
  },
  inputs: ExpertsInputs,
  options: ParallelExpertsOptions,
): Promise<Tensor> {
  using scope = new DisposableStack();
  const uploaded = mapInputs(inputs, (value) => scope.use(backend.upload(value)));
  return await backend.download(scope.use(await backend.experts(uploaded, options)));
}
