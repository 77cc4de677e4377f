// `experts` as its contract reads, one number after the other in float64. Shares no code with the product.
import type { ExpertsInputs, ExpertsOptions } from "../src/experts.ts";

/** What the naive model finds, [T, H] each. */
export interface NaiveResult {
  /** Float64 all the way. */
  readonly exact: Float64Array;
  /** The sum of the magnitudes of everything that was added up: what rounding errors are to be measured by. */
  readonly magnitude: Float64Array;
  /** The number of assignments that were kept. */
  readonly kept: number;
}

/** Computes the op without regard to speed. */
export function naiveExperts(inputs: ExpertsInputs, options: ExpertsOptions = {}): NaiveResult {
  const [T, H] = inputs.hiddenStates.shape as [number, number];
  const K = inputs.routerIndices.shape[1]!;
  const [E, I] = inputs.downProj.shape as [number, number];
  const capacity = options.expertCapacity ?? Infinity;
  const dense = inputs.routingWeights.shape[1] !== K || options.routingWeightsLayout === "dense";
  const x = inputs.hiddenStates.data, gateUp = inputs.gateUpProj.data, down = inputs.downProj.data;
  const gateUpBias = inputs.gateUpProjBias?.data, downBias = inputs.downProjBias?.data;

  const exact = new Float64Array(T * H), magnitude = new Float64Array(T * H);
  const taken = new Array<number>(E).fill(0);
  let kept = 0;
  for (let t = 0; t < T; t++) {
    for (let k = 0; k < K; k++) {
      const e = inputs.routerIndices.data[t * K + k]!;
      if (taken[e]! >= capacity) continue;
      taken[e]! += 1;
      kept += 1;
      const w = inputs.routingWeights.data[dense ? t * E + e : t * K + k]!;
      const a = new Float64Array(I);
      for (let i = 0; i < I; i++) {
        let g = gateUpBias?.[e * 2 * I + 2 * i] ?? 0, u = gateUpBias?.[e * 2 * I + 2 * i + 1] ?? 0;
        for (let h = 0; h < H; h++) {
          g += x[t * H + h]! * gateUp[(e * H + h) * 2 * I + 2 * i]!;
          u += x[t * H + h]! * gateUp[(e * H + h) * 2 * I + 2 * i + 1]!;
        }
        g = Math.min(g, 7);
        u = Math.max(-7, Math.min(7, u));
        a[i] = g / (1 + Math.exp(-1.702 * g)) * (u + 1);
      }
      for (let h = 0; h < H; h++) {
        let y = downBias?.[e * H + h] ?? 0, size = Math.abs(y);
        for (let i = 0; i < I; i++) {
          const product = a[i]! * down[(e * I + i) * H + h]!;
          y += product;
          size += Math.abs(product);
        }
        exact[t * H + h]! += w * y;
        magnitude[t * H + h]! += Math.abs(w) * size;
      }
    }
  }
  return { exact, magnitude, kept };
}
