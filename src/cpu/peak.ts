// The most this machine does with this engine, measured: one thread's multiply-adds times the threads, and plain copies.
import type { PeakRates } from "../backend/backend.ts";
import { openBlas } from "../wasm/blas.ts";
import { createContext } from "../wasm/context.ts";
import type { Engine } from "../wasm/engine.ts";
import { kernelModule } from "../wasm/module.ts";

/** Rounds of 48 multiply-adds of four lanes in registers. */
const maddRounds = 20_000;

/** The sizes of a matrix product whose operands fit no cache, as those of an op do not. */
const product = 1024;

/** What is copied at a time: larger than any cache. */
const streamBytes = 96 * 2 ** 20, streamChunk = 2 ** 20;

/** How often each is measured; the best counts. */
const attempts = { madds: 30, product: 6, bandwidth: 4 };

/** Measures the peaks of a pool's threads, with a BLAS where its path is given. Every dtype is multiplied in f32. */
export async function measurePeak(pool: Engine, library: string | undefined): Promise<PeakRates> {
  return {
    teraflops: pool.threads * await arithmetic(library) / 1e9,
    gigabytesPerSecond: await bandwidth(pool) / 1e6,
    source: "measured",
  };
}

/** One thread's floating-point operations a millisecond: those of a bare product, or of the kernels' own instructions. */
async function arithmetic(library: string | undefined): Promise<number> {
  const context = createContext(kernelModule(), openBlas);
  if (library === undefined) {
    return maddRounds * 48 * 8 / await shortest(attempts.madds, () => context.kernels.maddPeak(maddRounds));
  }
  const n = product;
  const at = context.allocate({ a: n * n * 4, b: n * n * 4, c: n * n * 4 });
  const [a, b, c] = [at.a, at.b, at.c].map((from) => context.f32.subarray(from / 4)) as [View, View, View];
  context.f32.fill(0.5, at.a / 4, at.c / 4);
  const sgemm = context.sgemm(library);
  return 2 * n ** 3 / await shortest(attempts.product, () => sgemm(false, n, n, n, a, n, b, n, c, n, false));
}

type View = Float32Array<ArrayBuffer>;

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

async function shortest(attempts: number, run: () => unknown): Promise<number> {
  let best = Infinity;
  for (let i = 0; i <= attempts; i++) {
    const start = performance.now();
    await run();
    if (i > 0) best = Math.min(best, performance.now() - start); // the first touches the memory
  }
  return best;
}
