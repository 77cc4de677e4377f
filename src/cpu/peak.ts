// The peak rates of this machine with this engine, measured: the multiply-adds of one thread times the number of threads,
// and the faster of plain copies and plain reads.
import type { PeakRates } from "../backend/backend.ts";
import { openBlas } from "../wasm/blas.ts";
import { createContext } from "../wasm/context.ts";
import { kernelModule } from "../wasm/module.ts";
import type { WorkerPool } from "../wasm/worker_pool.ts";

/** Rounds of 48 multiply-adds of four lanes in registers. */
const maddRounds = 20_000;

/** The size of a matrix product whose operands do not fit a cache, like the operands of the op. */
const productSize = 1024;

/** The memory that is copied and read. Half of it is larger than any cache. */
export const streamBytes = 192 * 2 ** 20;

/** A chunk of the memory, which stays in the second cache when it is read. */
const streamChunk = 2 ** 18;

/** The number of measurements. The best one counts. */
const attempts = { madds: 30, product: 6, copies: 4, reads: 4 };

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

/** The bytes read and written in a millisecond. The op mostly reads, which can be faster than to copy. */
async function bandwidth(pool: WorkerPool): Promise<number> {
  const memory = new Uint8Array(new SharedArrayBuffer(streamBytes));
  const [source, target] = [memory.subarray(0, streamBytes / 2), memory.subarray(streamBytes / 2)];
  const run = (source: Uint8Array, target?: Uint8Array) =>
    pool.run("stream", { next: new Int32Array(new SharedArrayBuffer(4)), source, target, chunk: streamChunk });
  const copies = await shortest(attempts.copies, () => run(source, target)); // also writes to all pages, for the reads
  const reads = await shortest(attempts.reads, () => run(memory));
  return streamBytes / Math.min(copies, reads);
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
