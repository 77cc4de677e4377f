// The peak rates of this machine with this engine, measured: the multiply-adds of one thread times the number of threads,
// and plain copies.
import type { PeakRates } from "../backend/backend.ts";
import { openBlas } from "../wasm/blas.ts";
import { createContext } from "../wasm/context.ts";
import { kernelModule } from "../wasm/module.ts";
import type { WorkerPool } from "../wasm/worker_pool.ts";

/** Rounds of 48 multiply-adds of four lanes in registers. */
const maddRounds = 20_000;

/** The size of a matrix product whose operands do not fit a cache, like the operands of the op. */
const productSize = 1024;

/** The size of a copy, larger than any cache. */
const streamBytes = 96 * 2 ** 20, streamChunk = 2 ** 20;

/** The number of measurements. The best one counts. */
const attempts = { madds: 30, product: 6, bandwidth: 4 };

/** Measures the peak rates of a pool's threads. Every dtype is multiplied in f32. */
export class PeakMeter {
  readonly #pool: WorkerPool;
  readonly #library: string | undefined;
  #best = { teraflops: 0, gigabytesPerSecond: 0 };

  /** @param library The path of the BLAS. Without it, the kernels multiply. */
  constructor(pool: WorkerPool, library: string | undefined) {
    this.#pool = pool;
    this.#library = library;
  }

  /** Measures the rates and returns the best of all measurements so far: other load only makes a rate lower. */
  async measure(): Promise<PeakRates> {
    const teraflops = this.#pool.threads * await arithmetic(this.#library) / 1e9;
    const gigabytesPerSecond = await bandwidth(this.#pool) / 1e6;
    this.#best = {
      teraflops: Math.max(this.#best.teraflops, teraflops),
      gigabytesPerSecond: Math.max(this.#best.gigabytesPerSecond, gigabytesPerSecond),
    };
    return { ...this.#best, source: "measured" };
  }
}

/** The floating-point operations of one thread in a millisecond: in a product by the library, or in a loop of multiply-adds. */
async function arithmetic(library: string | undefined): Promise<number> {
  const context = createContext(kernelModule(), openBlas);
  if (library === undefined) {
    return maddRounds * 48 * 8 / await shortest(attempts.madds, () => context.kernels.maddPeak(maddRounds));
  }
  const n = productSize;
  const at = context.allocate({ a: n * n * 4, b: n * n * 4, c: n * n * 4 });
  const [a, b, c] = [at.a, at.b, at.c].map((from) => context.f32.subarray(from / 4)) as [View, View, View];
  context.f32.fill(0.5, at.a / 4, at.c / 4);
  const sgemm = context.sgemm(library);
  return 2 * n ** 3 / await shortest(attempts.product, () => sgemm(false, n, n, n, a, n, b, n, c, n, false));
}

type View = Float32Array<ArrayBuffer>;

/** The bytes read and written in a millisecond. */
async function bandwidth(pool: WorkerPool): Promise<number> {
  const [source, target] = [0, 0].map(() => new Uint8Array(new SharedArrayBuffer(streamBytes))) as [
    Uint8Array,
    Uint8Array,
  ];
  const best = await shortest(attempts.bandwidth, () => {
    const next = new Int32Array(new SharedArrayBuffer(4));
    return pool.run("stream", { next, source, target, chunk: streamChunk });
  });
  return 2 * streamBytes / best;
}

async function shortest(attempts: number, run: () => unknown): Promise<number> {
  let best = Infinity;
  for (let i = 0; i <= attempts; i++) {
    const start = performance.now();
    await run();
    if (i > 0) best = Math.min(best, performance.now() - start); // the first one touches new memory
  }
  return best;
}
