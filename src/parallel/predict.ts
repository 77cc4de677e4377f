// Predicts the time of a call over several GPUs from rates that were measured or are assumed.
import { expertsFlops } from "../contract/experts_sizes.ts";
import type { Gpu } from "../cuda/plan/gpus.ts";
import { bytesPerElement } from "../tensor/tensor.ts";
import { type Job, tensorBytes } from "../workload/workload.ts";
import { type ExchangeBytes, exchangeBytes, gathersTokens } from "./exchange_bytes.ts";

/** The rates of the connections and of the kernels. */
export interface LinkRates {
  /** Bytes per second that a GPU receives from the others of its host, all together. */
  readonly hostBytes: number;
  /** Bytes per second that a GPU receives from other hosts. */
  readonly networkBytes: number;
  /** The GPUs of a host. */
  readonly gpusPerHost: number;
  /** Seconds of an exchange without its bytes. */
  readonly latency: number;
  /** Seconds for the counts of all ranks, if the assignments travel. */
  readonly counts: number;
  /** Seconds of a call without its operations and bytes. */
  readonly launches: number;
  /** The shares of the GPU's peak rates that its kernels reach. */
  readonly share: { readonly arithmetic: number; readonly memory: number };
}

/** Measured on two H200 of one host on 2026-11-29; the network is an assumption. */
export const measuredRates: LinkRates = {
  ...{ hostBytes: 270e9, networkBytes: 45e9, gpusPerHost: 8 },
  ...{ latency: 10e-6, counts: 60e-6, launches: 30e-6, share: { arithmetic: 0.7, memory: 0.9 } },
};

/** What a call over several GPUs is expected to take, in milliseconds. The rows are routed evenly, and nothing overlaps. */
export interface Prediction {
  readonly gpus: number;
  /** Without the exchanges. */
  readonly computeMs: number;
  /** Both ways, if the assignments travel. */
  readonly assignmentsMs: number;
  /** Both ways, if the tokens travel and their sums return. */
  readonly tokensMs: number;
  /** The time with the faster exchange. */
  readonly totalMs: number;
  /** The bytes that a GPU receives with the faster exchange. */
  readonly exchangeBytes: number;
  /** The time of one GPU with the tokens of one, over `totalMs`. */
  readonly efficiency: number;
  /** The time of one GPU with the tokens of all, over `totalMs`. */
  readonly gain: number;
  /** The bytes of the expert weights of each GPU. */
  readonly weightBytes: number;
}

/** Predicts a job whose tokens are those of each GPU. */
export function predict(job: Job, gpu: Gpu, gpus: number, rates: LinkRates = measuredRates): Prediction {
  const { batch, seq, hidden, topK, experts, dtype } = job;
  const tokens = batch * seq, element = bytesPerElement(dtype), row = hidden * element;
  const { arithmetic, memory } = rates.share;
  const { gateUpProj, downProj } = tensorBytes(job).inputs;
  const moved = (bytes: number) => bytes / (gpu.bandwidth * memory);
  /** The time of `tokens` on each of several GPUs, without the exchange. */
  const compute = (ranks: number, tokens: number) => {
    const busy = Math.min(1, tokens * ranks * topK / experts); // the share of the experts that have work
    const bytes = (gateUpProj + downProj) / ranks * busy + 4 * tokens * topK * row;
    // The kernels overlap arithmetic and memory in part.
    const products = Math.hypot(expertsFlops(job, tokens * topK) / (gpu.flops * arithmetic), moved(bytes));
    return rates.launches + products + moved((topK + 1) * tokens * row);
  };
  const local = Math.min(gpus, rates.gpusPerHost);
  const travel = (bytes: number) =>
    gpus === 1 ? 0 : rates.latency + bytes / (gpus - 1) *
        Math.max((local - 1) / rates.hostBytes, (gpus - local) / rates.networkBytes);
  const exchange = ({ toExperts, back }: ExchangeBytes, copied: number) =>
    gpus === 1 ? 0 : travel(toExperts) + travel(back) + moved(2 * copied);
  const bytes = {
    assignments: exchangeBytes({ tokens, hidden, topK, element }, gpus, "assignments"),
    tokens: exchangeBytes({ tokens, hidden, topK, element }, gpus, "tokens"),
  };
  // Rows are packed before they travel, and sums are written and read again.
  const packed = bytes.assignments.back + (gathersTokens(gpus, topK) ? 0 : bytes.assignments.toExperts);
  const assignments = exchange(bytes.assignments, packed) + (gpus === 1 ? 0 : rates.counts);
  const everywhere = exchange(bytes.tokens, bytes.tokens.back);
  const { toExperts, back } = assignments < everywhere ? bytes.assignments : bytes.tokens;
  const seconds = compute(gpus, tokens), total = seconds + Math.min(assignments, everywhere);
  return {
    ...{ gpus, computeMs: 1000 * seconds, assignmentsMs: 1000 * assignments, tokensMs: 1000 * everywhere },
    ...{ totalMs: 1000 * total, exchangeBytes: toExperts + back, efficiency: compute(1, tokens) / total },
    ...{ gain: compute(1, gpus * tokens) / total, weightBytes: (gateUpProj + downProj) / gpus },
  };
}

/** Describes what the prediction assumes. */
export function describeRates(
  { hostBytes, networkBytes, gpusPerHost, latency, counts, launches, share }: LinkRates,
): string {
  const microseconds = (seconds: number) => `${Math.round(seconds * 1e6)} µs`;
  return `Assumes ${hostBytes / 1e9} GB/s into a GPU within a host of ${gpusPerHost}, ${
    microseconds(latency)
  } for an exchange, ` +
    `${microseconds(counts)} for the counts of assignments, ${microseconds(launches)} for a call, ` +
    `kernels at ${100 * share.arithmetic} % of the peak arithmetic and ${100 * share.memory} % of the peak bandwidth ` +
    `(measured on two H200 of one host), ${
      networkBytes / 1e9
    } GB/s from other hosts (not measured), even routing, and no overlap`;
}
