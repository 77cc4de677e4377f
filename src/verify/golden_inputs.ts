// Draws a golden job's inputs on the host, as the script that made it did.
import type { ExpertsInputs } from "../contract/experts.ts";
import { route } from "../routing/route.ts";
import { type Tensor, tensor } from "../tensor/tensor.ts";
import { Generator } from "../torch/generator.ts";
import type { Golden } from "./goldens.ts";

/** The inputs of a golden job. */
export function goldenInputs(golden: Golden): ExpertsInputs {
  const { batch, seq, hidden, experts, topK, hiddenScale, weightScale } = golden;
  const tokens = batch * seq;
  const random = new Generator(golden.seed);
  const half = (shape: number[], scale: number): Tensor => {
    const scaled = (x: number) => Math.fround(Math.f16round(x) * Math.fround(scale));
    return tensor(Float16Array.from(random.randn(shape).data, scaled), shape);
  };
  const { routerIndices, routerWeights } = route(random.randn([tokens, experts]), topK);
  const hiddenStates = half([tokens, hidden], hiddenScale);
  const gateUpProj = half([experts, hidden, 2 * hidden], weightScale);
  const downProj = half([experts, hidden, hidden], weightScale);
  return {
    hiddenStates,
    gateUpProj,
    downProj,
    gateUpProjBias: golden.bias ? half([experts, 2 * hidden], 0.5) : undefined,
    downProjBias: golden.bias ? half([experts, hidden], 0.5) : undefined,
    routerIndices: golden.name === "skewed" ? skewedIndices(tokens) : routerIndices,
    routingWeights: tensor(Float16Array.from(routerWeights.data), [tokens, topK]),
  };
}

/** Expert 1 takes every token first, experts 2 to 5 take turns, expert 0 gets none. */
function skewedIndices(tokens: number): Tensor {
  return tensor(Int32Array.from({ length: 2 * tokens }, (_, i) => i % 2 === 0 ? 1 : 2 + (i >> 1) % 4), [tokens, 2]);
}
