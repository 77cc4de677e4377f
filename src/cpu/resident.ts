// The memory that a run on the CPU takes, to refuse a job before the system ends the process.
import { gateUpColumns } from "../contract/experts_sizes.ts";
import { bytesPerElement } from "../tensor/tensor.ts";
import { type Job, requiredBytes } from "../workload/workload.ts";
import { streamBytes } from "./peak.ts";
import { blasCut, blocking, blockRows, kernelCut } from "./plan.ts";

/** The process without tensors and workers: the runtime, its modules, the compiled kernels, and the memory of the peaks. */
const processBytes = 160e6 + streamBytes;

/** A worker's isolate and stack. */
const isolateBytes = 12e6;

/** The buffers of a BLAS for one thread. */
const blasBytes = 40e6;

/** Copies that the verification has released, but that are not collected yet. */
const verifyBytes = 200e6;

/** The sizes of a layer and the tokens of a call. */
export interface CallSizes {
  readonly tokens: number;
  readonly hidden: number;
  readonly intermediate: number;
  readonly gated: boolean;
}

/** The resources of the CPU backend. */
export interface CpuResources {
  readonly threads: number;
  /** Whether a BLAS multiplies, not only the kernels. */
  readonly hasBlas: boolean;
}

/**
 * Estimates the resident memory of a benchmark on the CPU: tensors, process, the workers' own memory, and the verification.
 *
 * @param verify Whether rows of the output are compared with float64.
 * @returns Bytes, not less than the run takes at its peak.
 */
export function residentBytes(job: Job, { verify, ...resources }: CpuResources & { readonly verify: boolean }): number {
  const tokens = Math.min(job.batch * job.seq, job.capacity ?? Infinity);
  return requiredBytes(job) + overheadBytes({ ...job, tokens }, resources) +
    (verify ? verifyBytes + expertBytes(job) : 0);
}

/**
 * Estimates what a call takes besides its tensors: the process and the workers' own memory.
 *
 * @param sizes The sizes of the largest experts. The tokens are those of one expert at most.
 */
export function overheadBytes(sizes: CallSizes, { threads, hasBlas }: CpuResources): number {
  const worker = isolateBytes + workerBytes(sizes, threads, hasBlas) + (hasBlas ? blasBytes : 0);
  return processBytes + threads * worker;
}

/** The verification's copies of one expert's weights: packed, in the job's dtype, and in f32 if that is bf16. */
function expertBytes(job: Job): number {
  const elements = job.hidden * (gateUpColumns(job) + job.intermediate);
  return elements * (1 + bytesPerElement(job.dtype) + (job.dtype === "bf16" ? 4 : 0));
}

/** The linear memory of a worker: the areas of the largest block; see `panelProduct` and `blasProduct`. */
function workerBytes(sizes: CallSizes, threads: number, hasBlas: boolean): number {
  const { tokens, hidden, intermediate } = sizes;
  const cut = hasBlas ? blasCut : kernelCut(threads);
  const product = (depth: number, width: number) => {
    const rows = Math.min(tokens, blockRows(cut, depth));
    const columns = tokens < blocking.fewRows ? width : Math.min(width, cut.columns);
    return 4 * rows * (depth + columns) + 4 * 120 * depth + 4 * columns * (blocking.depth + 64);
  };
  return Math.max(product(hidden, gateUpColumns(sizes)), product(intermediate, hidden));
}

/** The memory that stays free for the system: 512 MiB, or a fiftieth of what is available if that is more. */
export function systemReserve(availableBytes: number): number {
  return Math.max(512 * 2 ** 20, availableBytes / 50);
}
