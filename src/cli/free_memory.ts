// Whether a job fits the memory of this machine.
import type { Backend } from "../backend/backend.ts";
import { type CpuResources, residentBytes, systemReserve } from "../cpu/resident.ts";
import { formatBytes } from "../text.ts";
import { type Job, tensorBytes } from "../workload/workload.ts";

/**
 * Returns why this machine does not have enough memory; null if it has, or without the permission to find out.
 *
 * @param what What needs the memory, for the message.
 * @param need The resident memory of the process in bytes.
 */
export function memoryProblem(what: string, need: number): string | null {
  const { state } = Deno.permissions.querySync({ name: "sys", kind: "systemMemoryInfo" });
  if (state !== "granted") return null;
  const { available } = Deno.systemMemoryInfo();
  const reserve = systemReserve(available);
  if (need + reserve <= available) return null;
  return `${what} needs ${formatBytes(need)} of memory and ${formatBytes(reserve)} must stay free for the system, ` +
    `but only ${formatBytes(available)} are available`;
}

/** Returns what the memory that a backend needs on the CPU depends on. */
export function cpuResources({ threads, engine }: Pick<Backend, "threads" | "engine">): CpuResources {
  return { threads, hasBlas: engine !== "WebAssembly" };
}

/** The backend whose memory is checked. */
type Checked = Pick<Backend, "name" | "details" | "threads" | "engine">;

/**
 * Returns why a job does not fit the memory of a backend, or null if it fits, as far as that is known. On a GPU, inputs and
 * output must fit.
 *
 * @param verify Whether rows of the output are compared with float64.
 */
export function jobProblem(backend: Checked, job: Job, verify: boolean): string | null {
  const { name, details } = backend;
  if (name === "cpu") return memoryProblem("The job", residentBytes(job, { ...cpuResources(backend), verify }));
  const { inputs, output } = tensorBytes(job);
  const need = Object.values(inputs).reduce((sum, bytes) => sum + bytes, output);
  const has = details.deviceMemoryBytes;
  if (has === null || need <= has) return null;
  return `The job needs more than ${formatBytes(need)} of memory on the GPU, but it has ${formatBytes(has)}`;
}
