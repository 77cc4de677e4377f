// Records as text, in the formats there are. A document is its head, a piece for each record, and its tail.
import type { BenchRecord } from "../bench/record.ts";

/** How records are written in one format. */
export interface Format {
  /** What stands before the records. */
  readonly head: string;
  /** One record, `index` counted from 0. */
  record(record: BenchRecord, index: number): string;
  /** What stands after the records. */
  readonly tail: string;
}

/** What a format may know beforehand. */
export interface Layout {
  /** Keys of records whose values differ in what is to come. */
  readonly varying: readonly (keyof BenchRecord)[];
  /** Whether to show the times that only a GPU has. */
  readonly modes: boolean;
  /** Whether to colour. */
  readonly color: boolean;
}

/** The formats' names. */
export const formatNames = ["text", "markdown", "csv", "json", "jsonl"] as const;

/** The name of a format. */
export type FormatName = typeof formatNames[number];
