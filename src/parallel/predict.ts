// Predicts the time of a call over several GPUs from rates that were measured or are assumed.
import { expertsFlops } from "../contract/experts_sizes.ts";
import type { Gpu } from "../cuda/plan/gpus.ts";
import { bytesPerElement } from "../tensor/tensor.ts";
import { type Job, tensorBytes } from "../workload/workload.ts";

/** The rates of the connections. */
export interface LinkRates {
  /** Bytes per second that a GPU receives from the others of its host, all together. */
  readonly hostBytes: number;
  /** Bytes per second that a GPU receives from other hosts. */
  readonly networkBytes: number;
  /** The GPUs of a host. */
  readonly gpusPerHost: number;
  /** Seconds of an exchange without its bytes. */
  readonly latency: number;
  /** Seconds until the host knows the counts of all ranks. */
  readonly counts: number;
  /** The share of the GPU's peak rates that the products reach. */
  readonly share: number;
}

/** NCCL on two H200 of one host, measured on 2026-11-28; the network and the share of the peak are assumptions. */
export const measuredRates: LinkRates = {
  ...{ hostBytes: 270e9, networkBytes: 45e9, gpusPerHost: 8 },
  ...{ latency: 15e-6, counts: 31e-6, share: 0.7 },
};

/** What a call over several GPUs is expected to take, in milliseconds. The rows are routed evenly, and nothing overlaps. */
export interface Prediction {
  readonly gpus: number;
  readonly computeMs: number;
  /** Both ways, if each assignment travels. */
  readonly assignmentsMs: number;
  /** Both ways, if every token travels to every GPU. */
  readonly tokensMs: number;
  /** The time with the faster exchange. */
  readonly totalMs: number;
  /** The time of one GPU with the tokens of one, over `totalMs`. */
  readonly efficiency: number;
  /** The bytes of the expert weights of each GPU. */
  readonly weightBytes: number;
}

/** Predicts a job whose tokens are those of each GPU. */
export function predict(job: Job, gpu: Gpu, gpus: number, rates: LinkRates = measuredRates): Prediction {
  const { batch, seq, hidden, topK, experts, dtype } = job;
  const tokens = batch * seq, element = bytesPerElement(dtype);
  const { gateUpProj, downProj } = tensorBytes(job).inputs;
  const compute = (ranks: number) => {
    const busy = Math.min(1, tokens * ranks * topK / experts); // the share of the experts that have work
    const weightBytes = (gateUpProj + downProj) / ranks;
    const bytes = weightBytes * busy + 4 * tokens * topK * hidden * element;
    const floor = Math.max(expertsFlops(job, tokens * topK) / gpu.flops, bytes / gpu.bandwidth);
    return { seconds: floor / rates.share, weightBytes };
  };
  const local = Math.min(gpus, rates.gpusPerHost);
  const travel = (rowsFromEach: number, rowBytes: number) =>
    gpus === 1 ? 0 : rates.latency + rowsFromEach * rowBytes *
        Math.max((local - 1) / rates.hostBytes, (gpus - local) / rates.networkBytes);
  const rowBytes = hidden * element;
  const assignments = 2 * travel(tokens * topK / gpus, rowBytes) + (gpus === 1 ? 0 : rates.counts);
  const everywhere = 2 * travel(tokens, rowBytes);
  const { seconds, weightBytes } = compute(gpus);
  const total = seconds + Math.min(assignments, everywhere);
  return {
    ...{ gpus, computeMs: 1000 * seconds, assignmentsMs: 1000 * assignments, tokensMs: 1000 * everywhere },
    ...{ totalMs: 1000 * total, efficiency: compute(1).seconds / total, weightBytes },
  };
}

/** Describes what the prediction assumes. */
export function describeRates({ hostBytes, networkBytes, gpusPerHost, latency, counts, share }: LinkRates): string {
  return `Assumes ${hostBytes / 1e9} GB/s into a GPU within a host of ${gpusPerHost} (measured on two H200), ` +
    `${networkBytes / 1e9} GB/s from other hosts, ${latency * 1e6} µs for an exchange and ${
      counts * 1e6
    } µs for the counts, ` +
    `products at ${100 * share} % of the peak rates, even routing, and no overlap`;
}
