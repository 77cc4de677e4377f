/**
 * The random numbers of PyTorch on the CPU.
 *
 * @module
 */
import { fromBfloat16, toBfloat16 } from "../tensor/bfloat16.ts";
import { describeValue, type Tensor, zeros } from "../tensor/tensor.ts";
import { type Context, createContext } from "../wasm/context.ts";
import { elements, wasmDType } from "../wasm/elements.ts";
import type { WorkerPool } from "../wasm/worker_pool.ts";
import { kernelModule } from "../wasm/module.ts";
import { normals, type NormalsJob } from "../wasm/tasks/normals.ts";
import { MersenneTwister, windowSize } from "./mersenne_twister.ts";

/** Options of {@linkcode Generator.prototype.fillNormal}. */
export interface FillNormalOptions {
  /**
   * The factor of each number. In f16 and bf16, the number is rounded, multiplied in f32 and rounded again, as in
   * `torch.randn(…).half() * scale`.
   *
   * @default {1}
   */
  scale?: number;
  /** Called from time to time, and at the end, with the number of elements that are done. */
  onProgress?: (done: number) => void;
}

/** An array for normally distributed numbers: f32, f16, or bf16 as bit patterns. */
type Normals = Float32Array | Float16Array | Uint16Array;

/** The smallest count for which it pays to wake the workers. */
const parallelFrom = 1 << 16;

/** The count that a worker takes at a time. The words of the stream, 128 KiB, fit into its L2 cache. */
const chunk = 32768;

let local: Context | undefined;

/**
 * A stream of random numbers. For the same seed and calls, they equal those of `torch.Generator().manual_seed(seed)` on the
 * CPU: uniform numbers exactly, normal ones to 4 units in the last place of f32. They have the same bits on every machine
 * and for any number of threads.
 *
 * Source: PyTorch 1.13 to 2.x, `aten/src/ATen/native/cpu/DistributionTemplates.h` and `ATen/core/DistributionsHelper.h`.
 *
 * @example Usage
 * ```ts
 * import { Generator } from "@yamoe/yamoe";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const logits = new Generator(0).randn([4, 8]);
 * assertAlmostEquals(logits.data[0]!, -1.1258398, 1e-6);
 * ```
 */
export class Generator {
  readonly #twister: MersenneTwister;
  #sinePartner: number | undefined;

  /**
   * Starts a stream.
   *
   * @param seed An integer from 0 to 2^64 - 1, as a number or a bigint. As in PyTorch, only the low 32 bits are used.
   * @throws {RangeError} If the seed is not such an integer.
   */
  constructor(seed: number | bigint = 0) {
    const valid = typeof seed === "bigint" ? seed >= 0n && seed < 1n << 64n : Number.isSafeInteger(seed) && seed >= 0;
    if (!valid) {
      throw new RangeError(
        `seed must be an integer from 0 to 2^64 - 1 (a bigint above 2^53 - 1), got ${describeValue(seed)}`,
      );
    }
    this.#twister = new MersenneTwister(Number(BigInt(seed) & 0xffffffffn));
  }

  /**
   * Draws numbers from the standard normal distribution.
   *
   * @param shape The size of each dimension.
   * @returns A tensor of dtype f32.
   * @throws {RangeError} If a size is not a non-negative integer.
   */
  randn(shape: readonly number[]): Tensor {
    const result = zeros("f32", shape);
    const target = result.data as Float32Array;
    if (target.length < 16) this.#fillSmall(target, 1);
    else for (const part of this.#parts(target)) this.#fillPart(part, 1);
    return result;
  }

  /**
   * Draws numbers from the uniform distribution on [0, 1).
   *
   * @param shape The size of each dimension.
   * @returns A tensor of dtype f32.
   * @throws {RangeError} If a size is not a non-negative integer.
   */
  rand(shape: readonly number[]): Tensor {
    const result = zeros("f32", shape);
    for (let i = 0; i < result.data.length; i++) result.data[i] = (this.#twister.next() & 0xffffff) * 2 ** -24;
    return result;
  }

  /**
   * Fills an array with normally distributed numbers, on all threads of a worker pool: the numbers of `randn`, scaled.
   *
   * @param pool The worker pool.
   * @param target Shared memory for the numbers, f32, f16 or bf16.
   * @param options The scale and a progress callback.
   * @throws {TypeError} If the target is not in shared memory.
   * @internal
   */
  async fillNormal(
    pool: WorkerPool,
    target: Normals,
    options: FillNormalOptions = {},
  ): Promise<void> {
    const { scale = 1, onProgress } = options;
    if (!(target.buffer instanceof SharedArrayBuffer)) throw new TypeError("target must be in shared memory");
    if (target.length < 16) this.#fillSmall(target, scale);
    else await this.#fillParts(pool, target, scale, onProgress);
    onProgress?.(target.length);
  }

  async #fillParts(
    pool: WorkerPool,
    target: Normals,
    scale: number,
    onProgress: FillNormalOptions["onProgress"],
  ): Promise<void> {
    for (const part of this.#parts(target)) {
      if (part.length < parallelFrom) {
        this.#fillPart(part, scale);
        continue;
      }
      const job = this.#job(part, scale);
      const tick = onProgress && (() => onProgress(Math.min(job.state[1]! * chunk, part.length)));
      await pool.run("normals", job, tick);
      this.#twister.window = job.state.subarray(2);
    }
  }

  /**
   * PyTorch fills whole blocks of 16. If the end is not a whole block, its words are discarded, and the last 16 numbers are
   * drawn again and overwrite the earlier ones.
   */
  *#parts(target: Normals): IterableIterator<Normals> {
    const rest = target.length % 16;
    yield target.subarray(0, target.length - rest);
    if (rest === 0) return;
    for (let i = 0; i < rest; i++) this.#twister.next();
    yield target.subarray(target.length - 16);
  }

  #job(target: Normals, scale: number): NormalsJob {
    const state = new Int32Array(new SharedArrayBuffer((2 + windowSize) * 4));
    state.set(this.#twister.window, 2);
    return {
      state,
      scale,
      chunk,
      dtype: wasmDType(target instanceof Float16Array ? "f16" : target instanceof Uint16Array ? "bf16" : "f32"),
      target: elements(target),
    };
  }

  #fillPart(target: Normals, scale: number): void {
    const job = this.#job(target, scale);
    normals(local ??= createContext(kernelModule()), job);
    this.#twister.window = job.state.subarray(2);
  }

  /** Draws fewer than 16 numbers, one by one, in double precision. */
  #fillSmall(target: Normals, scale: number): void {
    const values = new Float32Array(target.length).map(() => this.#normal());
    const isBfloat16 = target instanceof Uint16Array;
    const round = () => isBfloat16 ? toBfloat16(values, target) : target.set(values);
    round();
    if (scale === 1) return;
    if (isBfloat16) fromBfloat16(target, values);
    else values.set(target);
    for (let i = 0; i < values.length; i++) values[i]! *= Math.fround(scale);
    round();
  }

  /** Draws a number by the Box-Muller method. The sine partner is kept for the next such call; larger calls do not use it. */
  #normal(): number {
    const partner = this.#sinePartner;
    if (partner !== undefined) {
      this.#sinePartner = undefined;
      return partner;
    }
    const angle = 2 * Math.PI * this.#twister.next53() * 2 ** -53;
    const radius = Math.sqrt(-2 * Math.log1p(-this.#twister.next53() * 2 ** -53));
    this.#sinePartner = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }
}
