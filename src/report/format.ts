// Formats for records. A document consists of a head, a piece per record, and a tail.
import type { BenchRecord, FigureKey } from "../bench/figures.ts";

/** How one format writes records. */
export interface Format {
  /** The text before the records. */
  readonly head: string;
  /** Formats one record. `index` counts from 0. */
  record(record: BenchRecord, index: number): string;
  /** The text after the records. */
  readonly tail: string;
}

/** What a format needs to know before the first record. */
export interface Layout {
  /** The figures of the configuration that differ between the records. */
  readonly varying: readonly FigureKey[];
  /** The lengths of their longest texts. */
  readonly widths?: { readonly [Key in FigureKey]?: number } | undefined;
  /** The figures of the configuration that all records share, for a heading. */
  readonly common: Partial<Pick<BenchRecord, FigureKey>>;
  /** The figures to show; without them, those that describe the run. */
  readonly columns?: readonly FigureKey[] | undefined;
  /** What was measured: this tool's version and commit. */
  readonly build: string;
  /** Whether to show the times that only a GPU has. */
  readonly modes: boolean;
  /** Whether to use colors. */
  readonly color: boolean;
  /** The width of the terminal. */
  readonly width: number;
  /** Whether to write the time of every call where the format leaves it out by default. */
  readonly samples: boolean;
}

/** The names of the formats. */
export const formatNames = ["text", "markdown", "csv", "json", "jsonl", "sql"] as const;

/** The name of a format. */
export type FormatName = typeof formatNames[number];
