// The op in float64, for some of the tokens: what a backend's output is checked against.
import type { ExpertsInputs } from "../experts.ts";
import type { ExpertsShape } from "../experts_shape.ts";

/** For each assignment, whether the capacity keeps it. */
export function keptMask(indices: ArrayLike<number>, { experts, capacity }: ExpertsShape): boolean[] {
  const taken = new Int32Array(experts);
  return Array.from(indices, (e) => taken[e]!++ < capacity);
}

/** The output row of one token in float64. */
export function referenceRow(
  inputs: ExpertsInputs,
  shape: ExpertsShape,
  kept: readonly boolean[],
  token: number,
): Float64Array {
  const { hidden, topK, experts, denseWeights } = shape;
  const row = new Float64Array(hidden);
  for (let k = 0; k < topK; k++) {
    const assignment = token * topK + k;
    if (!kept[assignment]) continue;
    const e = inputs.routerIndices.data[assignment]!;
    const weight = inputs.routingWeights.data[denseWeights ? token * experts + e : assignment]!;
    const expertRow = expertOutput(inputs, shape, token, e);
    for (let h = 0; h < hidden; h++) row[h]! += weight * expertRow[h]!;
  }
  return row;
}

function expertOutput(
  inputs: ExpertsInputs,
  { hidden, intermediate, activationAlpha: alpha, activationLimit: limit }: ExpertsShape,
  token: number,
  e: number,
): Float64Array {
  const x = inputs.hiddenStates.data.subarray(token * hidden, (token + 1) * hidden);
  const gateUp = addProduct(x, inputs.gateUpProj.data, e, biasRow(inputs.gateUpProjBias?.data, e, 2 * intermediate));
  const a = new Float64Array(intermediate);
  for (let i = 0; i < intermediate; i++) {
    const gate = Math.min(gateUp[2 * i]!, limit);
    const up = Math.max(-limit, Math.min(gateUp[2 * i + 1]!, limit));
    a[i] = gate / (1 + Math.exp(-alpha * gate)) * (up + 1);
  }
  return addProduct(a, inputs.downProj.data, e, biasRow(inputs.downProjBias?.data, e, hidden));
}

function biasRow(bias: ArrayLike<number> | undefined, e: number, width: number): Float64Array {
  return Float64Array.from({ length: width }, (_, i) => bias?.[e * width + i] ?? 0);
}

/** sums += x · weights[e], where weights[e] is [x.length, sums.length]. */
function addProduct(x: ArrayLike<number>, weights: ArrayLike<number>, e: number, sums: Float64Array): Float64Array {
  const width = sums.length;
  for (let k = 0; k < x.length; k++) {
    const value = x[k]!;
    const start = (e * x.length + k) * width;
    for (let n = 0; n < width; n++) sums[n]! += value * weights[start + n]!;
  }
  return sums;
}
