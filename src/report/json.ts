// JSON: an array of records, each on a line of its own.
import type { BenchRecord } from "../bench/record.ts";
import type { Format } from "./format.ts";

/** A record as one line of JSON. Numbers are numbers: a bigint keeps all its digits. */
export function toJson(record: unknown): string {
  return JSON.stringify(record, (_key, value) => typeof value === "bigint" ? rawJson(value) : value);
}

/** `JSON.rawJSON` is newer than the type library. */
const { rawJSON: rawJson } = JSON as unknown as { rawJSON(value: bigint): unknown };

/** The format. */
export function format(): Format {
  return { head: "[", record: (record, index) => `${index === 0 ? "" : ","}\n${toJson(record)}`, tail: "\n]\n" };
}

/** What a script gets of a single run: the figures without the statistics and the provenance. */
const runKeys: readonly (keyof BenchRecord)[] = [
  ...["preset", "batch", "seq", "hidden", "intermediate", "experts", "topK", "capacity", "dtype", "seed"] as const,
  ...["backend", "device", "threads", "engine", "warmup", "iters"] as const,
  ...["assignments", "kept", "dropped", "tokensPerExpert"] as const,
  ...["outputSum", "outputAbsSum", "outputMin", "outputMax", "outputFirst"] as const,
  ...["kernelTimeMs", "kernelTimesMs", "wallTimeMs", "generateTimeMs", "uploadTimeMs", "peakMemoryMb"] as const,
  ...["tflops", "version", "time"] as const,
];

/** A single run as one JSON object. */
export function runJson(record: BenchRecord): string {
  return toJson(Object.fromEntries(runKeys.map((key) => [key, record[key]])));
}
