// Whether a job fits the memory of this machine.
import type { Backend } from "../backend/backend.ts";
import { formatBytes } from "../text.ts";
import { type Job, requiredBytes, tensorBytes } from "../workload/workload.ts";

/** What the process needs besides tensors: the runtime, the kernels of every worker, and the buffers of a BLAS. */
const processReserve = 768 * 2 ** 20;

/** The share of the machine's memory that stays free, so that the system does not end the process. */
const systemReserve = 0.05;

/** Returns why the CPU does not have enough memory; null if it has, or without the permission to find out. */
export function memoryProblem(what: string, need: number): string | null {
  const { state } = Deno.permissions.querySync({ name: "sys", kind: "systemMemoryInfo" });
  if (state !== "granted") return null;
  const { available, total } = Deno.systemMemoryInfo();
  const reserve = processReserve + systemReserve * total;
  if (need + reserve <= available) return null;
  return `${what} needs ${formatBytes(need)} of memory and ${
    formatBytes(reserve)
  } must stay free for the process and ` +
    `the system, but only ${formatBytes(available)} are available`;
}

/** The backend whose memory is checked. */
type Checked = Pick<Backend, "name" | "details">;

/**
 * Returns why a job does not fit the memory of a backend; null if it fits, or as far as that is known. On a GPU, inputs and
 * output must fit.
 */
export function jobProblem({ name, details }: Checked, job: Job): string | null {
  if (name === "cpu") return memoryProblem("The job", requiredBytes(job));
  const { inputs, output } = tensorBytes(job);
  const need = Object.values(inputs).reduce((sum, bytes) => sum + bytes, output);
  const has = details.deviceMemoryBytes;
  if (has === null || need <= has) return null;
  return `The job needs more than ${formatBytes(need)} of memory on the GPU, but it has ${formatBytes(has)}`;
}
