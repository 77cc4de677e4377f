// The bytes that travel in a call over several GPUs.
import type { ExchangeMode } from "./parallel_backend.ts";

/** The sizes that decide on the bytes of an exchange. */
export interface ExchangeSizes {
  /** The number of tokens of each rank. */
  readonly tokens: number;
  readonly hidden: number;
  readonly topK: number;
  /** Bytes of an element of the hidden states. */
  readonly element: number;
}

/** Bytes that a rank receives from the others: on the way to the experts, and on the way back. */
export interface ExchangeBytes {
  readonly toExperts: number;
  readonly back: number;
}

/** Whether every token travels to every rank. Otherwise a row for each assignment does, which is less if there are many ranks. */
export function gathersTokens(ranks: number, topK: number): boolean {
  return ranks <= topK;
}

/** Returns the bytes that each rank receives in a call whose rows are routed evenly. */
export function exchangeBytes(
  { tokens, hidden, topK, element }: ExchangeSizes,
  ranks: number,
  exchange: Exclude<ExchangeMode, "auto">,
): ExchangeBytes {
  const others = ranks - 1, row = hidden * element;
  const assignments = tokens * topK * others / ranks * row; // a row for each
  const everyToken = tokens * others * (row + 4 * topK);
  if (exchange === "tokens") return { toExperts: everyToken, back: tokens * others * hidden * 4 };
  return { toExperts: gathersTokens(ranks, topK) ? everyToken : assignments, back: assignments };
}
