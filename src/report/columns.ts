// What the tables for people show of a record.
import { shortHint } from "../bench/hints.ts";
import type { BenchRecord } from "../bench/record.ts";
import type { Layout } from "./format.ts";

/** A column: its title, a record's cell, and what its cells are expected to need. */
export interface RecordColumn {
  readonly title: string;
  readonly text: (record: BenchRecord) => string;
  readonly width: number;
  /** Text aligns left, numbers right. */
  readonly align?: "left";
}

const unknown = "-";

/** A number to four significant digits, never with an exponent. */
export function digits(value: number): string {
  if (value === 0) return "0";
  const places = Math.max(0, 3 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(places, 6));
}

function figure(
  title: string,
  width: number,
  value: (record: BenchRecord) => number | null,
  text: (value: number) => string = digits,
): RecordColumn {
  return {
    title,
    width,
    text(record) {
      const number = value(record);
      return number === null ? unknown : text(number);
    },
  };
}

const percent = (fraction: number) => `${(100 * fraction).toFixed(1)} %`;

/** What identifies a configuration, by the keys of records. */
const identity: Partial<Record<keyof BenchRecord, Omit<RecordColumn, "text">>> = {
  preset: { title: "preset", width: 9, align: "left" },
  backend: { title: "backend", width: 8, align: "left" },
  device: { title: "device", width: 6, align: "left" },
  threads: { title: "threads", width: 7 },
  dtype: { title: "dtype", width: 5, align: "left" },
  batch: { title: "batch", width: 5 },
  seq: { title: "seq", width: 5 },
  hidden: { title: "hidden", width: 6 },
  intermediate: { title: "interm.", width: 7 },
  experts: { title: "experts", width: 7 },
  topK: { title: "top-k", width: 5 },
  capacity: { title: "capacity", width: 8 },
  seed: { title: "seed", width: 4 },
};

/** Columns for the keys of records that tell configurations apart. */
export function identityColumns(keys: readonly (keyof BenchRecord)[]): RecordColumn[] {
  return Object.entries(identity)
    .filter(([key]) => keys.includes(key as keyof BenchRecord))
    .map(([key, column]) => ({
      ...column,
      text: (record) =>
        key === "capacity" ? `${record.capacity ?? "none"}` : `${record[key as keyof BenchRecord] ?? unknown}`,
    }));
}

/** The figures, whatever is measured. */
export const figureColumns: readonly RecordColumn[] = [
  figure("time ms", 9, (record) => record.kernelTimeMs),
  figure("noise", 7, (record) => record.noise, percent),
  figure("runs", 5, (record) => record.iters, String),
  figure("TFLOP/s", 8, (record) => record.tflops),
  figure("GB/s", 8, (record) => record.gigabytesPerSecond),
  figure("tokens/s", 9, (record) => record.tokensPerSecond, (value) => value.toFixed(0)),
  figure("% peak", 6, (record) => record.percentOfPeak, (value) => value.toFixed(1)),
  { title: "bound by", width: 8, align: "left", text: (record) => record.boundBy ?? unknown },
  figure("MB", 8, (record) => record.peakMemoryMb, (value) => value.toFixed(2)),
  figure("dropped", 7, (record) => record.droppedFraction, percent),
  figure("max/mean", 8, (record) => record.imbalance, (value) => value.toFixed(2)),
  figure("output sum", 11, (record) => record.outputSum, (value) => value.toFixed(4)),
];

/** The figures of a device whose caches can be emptied. */
const modeColumns: readonly RecordColumn[] = [
  figure("cold ms", 9, (record) => record.coldTimeMs),
  figure("back to back", 12, (record) => record.backToBackTimeMs),
];

/** What is to be said of a record in words. */
export const noteColumn: RecordColumn = {
  title: "note",
  width: 0,
  align: "left",
  text: ({ status, reason, hints }) => status === "ok" ? hints.map(shortHint).join(", ") : `${status}: ${reason}`,
};

/** The columns of a table of records. */
export function recordColumns({ varying, modes }: Layout): RecordColumn[] {
  const figures = modes ? figureColumns.toSpliced(3, 0, ...modeColumns) : figureColumns;
  return [...identityColumns(varying), ...figures, noteColumn];
}
