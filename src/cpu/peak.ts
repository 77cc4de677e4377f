// The most this machine does with this engine, measured: products of matrices that fit the caches, and plain copies.
import type { PeakRates } from "../backend.ts";
import { type DType, tensor, zeros } from "../tensor.ts";
import type { Engine } from "../wasm/engine.ts";
import type { CpuBackend } from "./backend.ts";

/** Tokens for each thread, and both sizes of the one expert: its weights fit a core's second cache. */
const tokensPerThread = 128, size = 256;

/** What is copied at a time: larger than any cache. */
const streamBytes = 96 * 2 ** 20, streamChunk = 2 ** 20;

/** How often each is measured, the products, which are short, more often; the best counts. */
const attempts = { arithmetic: 30, bandwidth: 4 };

/** Measures the peaks of a dtype; undefined where the backend does not compute in it. */
export async function measurePeak(
  backend: CpuBackend,
  pool: Engine,
  dtype: DType,
): Promise<PeakRates | undefined> {
  try {
    return {
      teraflops: await arithmetic(backend, dtype) / 1e9,
      gigabytesPerSecond: await bandwidth(pool) / 1e6,
      source: "measured",
    };
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** Floating-point operations a millisecond. */
async function arithmetic(backend: CpuBackend, dtype: DType): Promise<number> {
  const tokens = tokensPerThread * backend.threads;
  using scope = new DisposableStack();
  const weights = zeros(dtype, [tokens, 1]);
  const inputs = {
    hiddenStates: scope.use(backend.upload(zeros(dtype, [tokens, size]))),
    routerIndices: scope.use(backend.upload(tensor(new Int32Array(tokens), [tokens, 1]))),
    routingWeights: scope.use(backend.upload(weights)),
    gateUpProj: scope.use(backend.upload(zeros(dtype, [1, size, 2 * size]))),
    downProj: scope.use(backend.upload(zeros(dtype, [1, size, size]))),
  };
  const best = await shortest(attempts.arithmetic, async () => {
    using _output = await backend.experts(inputs);
  });
  return tokens * 6 * size * size / best;
}

/** Bytes a millisecond, those read and those written. */
async function bandwidth(engine: Engine): Promise<number> {
  const [source, target] = [0, 0].map(() => new Uint8Array(new SharedArrayBuffer(streamBytes))) as [
    Uint8Array,
    Uint8Array,
  ];
  const best = await shortest(attempts.bandwidth, () => {
    const next = new Int32Array(new SharedArrayBuffer(4));
    return engine.run("stream", { next, source, target, chunk: streamChunk });
  });
  return 2 * streamBytes / best;
}

async function shortest(attempts: number, run: () => Promise<void>): Promise<number> {
  let best = Infinity;
  for (let i = 0; i <= attempts; i++) {
    const start = performance.now();
    await run();
    if (i > 0) best = Math.min(best, performance.now() - start); // the first touches the memory
  }
  return best;
}
