// The logits of a synthetic router.
import { type Tensor, zeros } from "../tensor/tensor.ts";
import type { Generator } from "../torch/generator.ts";
import type { WorkerPool } from "../wasm/worker_pool.ts";

/** A logit that no router chooses beside others. */
const never = -1e4;

/** What the logits depend on. */
interface RoutedTokens {
  readonly batch: number;
  readonly seq: number;
  readonly experts: number;
  readonly topK: number;
  readonly skew: number | "worst";
}

/**
 * Draws the logits of a job, [T, E].
 *
 * With a skew, a logit is the logarithm of its expert's popularity plus Gumbel noise. The experts with the K largest such sums
 * are a sample without replacement, in which expert i comes first with the probability of Zipf's law.
 */
export async function drawLogits(job: RoutedTokens, random: Generator, pool: WorkerPool): Promise<Tensor> {
  const { batch, seq, experts, topK, skew } = job;
  const logits = zeros("f32", [batch * seq, experts]);
  const data = logits.data as Float32Array;
  if (skew === "worst" || skew === 0) {
    await random.fillNormal(pool, data);
    if (skew === "worst") data.forEach((_, i) => i % experts >= topK && (data[i] = never));
    return logits;
  }
  const popularity = Float64Array.from({ length: experts }, (_, expert) => -skew * Math.log(expert + 1));
  const uniform = random.rand([batch * seq, experts]).data;
  for (let i = 0; i < data.length; i++) {
    const draw = Math.max(uniform[i] ?? 0, 2 ** -25); // 0 would make an infinite logit
    data[i] = popularity[i % experts]! - Math.log(-Math.log(draw));
  }
  return logits;
}
