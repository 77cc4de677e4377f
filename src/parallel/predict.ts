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
  /** The share of a GPU's multiprocessors that products leave to an exchange beside them. */
  readonly exchange: number;
  /** The shares of the GPU's peak rates that its kernels reach. */
  readonly share: { readonly arithmetic: number; readonly memory: number };
}

/** Measured on two H200 of one host on 2026-11-29; the network is an assumption. */
export const measuredRates: LinkRates = {
  ...{ hostBytes: 270e9, networkBytes: 45e9, gpusPerHost: 8 },
  ...{ latency: 10e-6, counts: 60e-6, launches: 30e-6, exchange: 16 / 132 },
  share: { arithmetic: 0.7, memory: 0.9 },
};

/** What a call over several GPUs is expected to take, in milliseconds. The rows are routed evenly. */
export interface Prediction {
  readonly gpus: number;
  /** Without the exchanges. */
  readonly computeMs: number;
  /** What both ways add, if the assignments travel. */
  readonly assignmentsMs: number;
  /** What both ways add, if the tokens travel and their sums return. */
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
  /** The time of the products of `rows` rows with the experts of one of several GPUs, which overlap arithmetic and memory in part. */
  const products = (ranks: number, rows: number) => {
    const busy = Math.min(1, rows * ranks / experts); // the share of the experts that have work
    const bytes = (gateUpProj + downProj) / ranks * busy + 4 * rows * row;
    return ((expertsFlops(job, rows) / (gpu.flops * arithmetic)) ** 1.5 + moved(bytes) ** 1.5) ** (2 / 3);
  };
  /** The time of `tokens` on each of several GPUs, without the exchange. */
  const compute = (ranks: number, tokens: number) =>
    rates.launches + products(ranks, tokens * topK) + moved((topK + 1) * tokens * row);
  const local = Math.min(gpus, rates.gpusPerHost);
  const travel = (bytes: number) =>
    gpus === 1 ? 0 : rates.latency + bytes / (gpus - 1) *
        Math.max((local - 1) / rates.hostBytes, (gpus - local) / rates.networkBytes);
  const bytes = {
    assignments: exchangeBytes({ tokens, hidden, topK, element }, gpus, "assignments"),
    tokens: exchangeBytes({ tokens, hidden, topK, element }, gpus, "tokens"),
  };
  /** The time that an exchange of assignments adds. */
  const assignmentsTime = ({ toExperts, back }: ExchangeBytes) => {
    if (gpus === 1) return 0;
    if (!gathersTokens(gpus, topK)) { // rows are packed before they travel
      return rates.counts + travel(toExperts) + travel(back) + moved(2 * (toExperts + back));
    }
    // Rows travel during the products of own tokens, which leave multiprocessors to the exchange and read the weights again.
    const rows = tokens * topK, share = toExperts / (toExperts + back);
    const own = products(gpus, rows / gpus) / (1 - rates.exchange), others = products(gpus, rows * (gpus - 1) / gpus);
    const packed = gpus > 2 ? moved(2 * back) : 0;
    return rates.counts + Math.max(share * own, travel(toExperts)) + others + packed +
      Math.max((1 - share) * own, travel(back)) - products(gpus, rows);
  };
  const assignments = assignmentsTime(bytes.assignments);
  // The sums are written and read again.
  const everywhere = gpus === 1
    ? 0
    : travel(bytes.tokens.toExperts) + travel(bytes.tokens.back) + moved(2 * bytes.tokens.back);
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
    `(measured on two H200 of one host), ${networkBytes / 1e9} GB/s from other hosts (not measured), and even routing`;
}
