// Draws the inputs of a golden job on the host, in the order of the script that made it.
import type { DenseInputs } from "../contract/experts.ts";
import { route } from "../routing/route.ts";
import { type Tensor, tensor } from "../tensor/tensor.ts";
import { Generator } from "../torch/generator.ts";

/** A job whose output is known. The intermediate size equals the hidden size. */
export interface Golden {
  /** The name of the job. */
  readonly name: string;
  /** Number of sequences. */
  readonly batch: number;
  /** Tokens per sequence. */
  readonly seq: number;
  /** H. */
  readonly hidden: number;
  /** E. */
  readonly experts: number;
  /** K. */
  readonly topK: number;
  /** The expert capacity. */
  readonly capacity: number;
  /** The seed of the generator. */
  readonly seed: number;
  /** Whether the biases are random. They are zero otherwise. */
  readonly bias: boolean;
  /** The factor of the hidden states. */
  readonly hiddenScale: number;
  /** The factor of the weights. */
  readonly weightScale: number;
  /** [T, H], f32 in base64. */
  readonly output: string;
}

/** Draws the inputs of a golden job. */
export function goldenInputs(golden: Golden): DenseInputs {
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

/** Expert 1 is the first choice of every token, experts 2 to 5 take turns as the second, expert 0 receives no token. */
function skewedIndices(tokens: number): Tensor {
  return tensor(Int32Array.from({ length: 2 * tokens }, (_, i) => i % 2 === 0 ? 1 : 2 + (i >> 1) % 4), [tokens, 2]);
}
