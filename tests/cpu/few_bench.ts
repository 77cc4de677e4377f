// 64 tokens of olmoe-1b-7b in bf16, and the floor under them: a part of `deno task bench:cpu`.
import { CpuBackend } from "../../src/cpu/backend.ts";
import { mapInputs } from "../../src/contract/experts_inputs.ts";
import { tensor, zeros } from "../../src/tensor/tensor.ts";
import type { Context } from "../../src/wasm/context.ts";

/** The functions of `bench.ts` that measure and print. */
export interface Bench {
  seconds(run: () => unknown): Promise<number>;
  report(step: string, threads: number, rate: number, unit: string, floor?: { rate: number; name: string }): void;
}

/**
 * Measures what a call with few rows must do at least, each by itself: multiply-adds in registers, and reads of shared
 * memory into L1. Then measures the call.
 *
 * @param madds The rate of multiply-adds in registers, in GFLOP/s.
 */
export async function benchFew({ seconds, report }: Bench, context: Context, madds: number): Promise<void> {
  const [tokens, topK, experts, hidden, intermediate] = [64, 8, 64, 2048, 1024] as const;
  const [gateUpProj, downProj] = [[experts, hidden, 2 * intermediate], [experts, intermediate, hidden]].map((shape) => {
    const weights = zeros("bf16", shape);
    (weights.data as Uint16Array).fill(0x3c80);
    return weights;
  });

  const source = gateUpProj!.data as Uint16Array, piece = 4096; // 8 KB
  const { at } = context.allocate({ at: 2 * piece });
  const read = await seconds(() => {
    for (let i = 0; i < source.length / 8; i += piece) context.stage(source, i, piece, at);
  });
  const reads = source.byteLength / 8 / read / 1e9;
  report("reads of shared memory to L1", 1, reads, "GB/s");

  const indices = Int32Array.from({ length: tokens * topK }, (_, i) => {
    const token = Math.floor(i / topK), slot = i % topK;
    return (37 * token + (2 * (token % 7) + 1) * slot) % experts; // odd steps, so that the experts of a token differ
  });
  const weights = experts * 3 * hidden * intermediate, flops = tokens * topK * 6 * hidden * intermediate;
  const times = [
    { name: "multiply-adds", time: flops / madds / 1e9 },
    { name: "+ reads", time: 2 * weights / reads / 1e9 },
  ];
  for (const threads of [1, 2].filter((n) => n <= navigator.hardwareConcurrency)) {
    using backend = new CpuBackend({ threads, blas: "none" });
    using scope = new DisposableStack();
    const device = mapInputs({
      hiddenStates: zeros("bf16", [tokens, hidden]),
      routerIndices: tensor(indices, [tokens, topK]),
      routingWeights: zeros("bf16", [tokens, topK]),
      gateUpProj: gateUpProj!,
      downProj: downProj!,
    }, (host) => scope.use(backend.upload(host)));
    const time = await seconds(async () => {
      using _output = await backend.experts(device, { activation: "silu", gateUpLayout: "concatenated" });
    });
    let floor = 0;
    for (const part of times) {
      floor += part.time / threads;
      const name = `${part.name}: ${(1000 * floor).toFixed(1)} of ${(1000 * time).toFixed(1)} ms`;
      report("64 tokens of olmoe-1b-7b", threads, flops / time / 1e9, "GFLOP/s", { rate: flops / floor / 1e9, name });
    }
  }
}
