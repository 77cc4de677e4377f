// Converts records of older versions, so that every file that `yamoe bench` ever wrote can be read.
import { schemaVersion } from "../bench/figures.ts";
import { presets } from "../models/presets.ts";

type Fields = Readonly<Record<string, unknown>>;

/** What changes from one version of the schema to the next one. The first step is from version 1 to 2. */
const steps: readonly ((record: Fields) => Fields)[] = [
  // Version 1: only drawn experts could be timed. Its first records have MiB, no status and no hints.
  ({ peakMemoryMb, preset, dtype = "f16", ...record }) => ({
    ...typeof peakMemoryMb === "number" ? { peakMemoryBytes: Math.round(peakMemoryMb * 2 ** 20) } : {},
    ...{ status: "ok", hints: [], throttleReasons: [] },
    ...{ preset, dtype, model: modelOf(preset), op: "experts", weights: "dense", layer: null, formats: dtype },
    ...{ hiddenFile: null, skew: 0, ep: 1 },
    ...record,
  }),
];

/**
 * Converts a record of an older version to the present one.
 *
 * @param value The record. What is not an object is returned as it is.
 * @throws {SyntaxError} If a newer version has written the record.
 */
export function migrated(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  const record = value as Fields;
  const { schema: version = 1 } = record;
  if (typeof version !== "number" || !(version >= 1)) return record; // the check of the figures refuses it
  if (version > schemaVersion) {
    throw new SyntaxError(
      `a newer version of yamoe wrote it: schema ${version}, and this one reads up to ${schemaVersion}`,
    );
  }
  return { ...steps.slice(version - 1).reduce((fields, step) => step(fields), record), schema: schemaVersion };
}

function modelOf(preset: unknown): string {
  const known = Object.entries(presets).find(([name]) => name === preset);
  return known ? known[1].model.replace(/,.*/, "") : "custom";
}
