// The plan of a sweep: its configurations, and what a table needs to know about them beforehand.
import type { Backend } from "../backend/backend.ts";
import { distinguishingKeys } from "../bench/configuration.ts";
import { columnOf, configurationKeys, type FigureKey, type FiguresOf, jobKeys } from "../bench/figures.ts";
import { provenance } from "../bench/provenance.ts";
import { jobFigures, plannedRecord } from "../bench/record.ts";
import { type Configuration, requestedPlace } from "../bench/sweep.ts";
import { presets } from "../models/presets.ts";
import { figureColumns, formatFigure, usualKeys } from "../report/columns.ts";
import type { FormatName, Layout } from "../report/format.ts";
import { textTable } from "../report/table.ts";
import { formatBytes } from "../text.ts";
import { areDrawn } from "../workload/drawn_weights.ts";
import { jobBytes } from "../workload/workload.ts";
import { exitCode, outputWidth, printData } from "./command.ts";
import { RecordOutput } from "./record_output.ts";
import { showsColors } from "./terminal.ts";

/** What decides on the layout of the records besides the plan. */
interface LayoutOptions {
  /** The open backend, if all configurations have the same. */
  readonly backend?: Pick<Backend, "name"> | undefined;
  /** Whether an external program runs beside every configuration. */
  readonly against?: boolean | undefined;
  /** Whether to write the time of every call in CSV and SQL, too. */
  readonly samples?: boolean | undefined;
  /** The figures to show. */
  readonly columns?: readonly FigureKey[] | undefined;
}

/** Returns the layout of the records of a plan. */
export function planLayout(
  plan: readonly Configuration[],
  { backend, against = false, samples = false, columns }: LayoutOptions = {},
): Layout {
  const varying = varyingKeys(plan);
  const { version, gitCommit, gitDirty } = provenance();
  const commit = gitCommit === null ? "" : `, commit ${gitCommit.slice(0, 10)}${gitDirty ? " with changes" : ""}`;
  return {
    common: commonFigures(plan, varying),
    columns,
    build: `yamoe ${version}${commit}`,
    widths: Object.fromEntries(varying.map((key) => [key, textLength(plan, key)])),
    varying: against && !varying.includes("backend") ? [...varying, "backend"] : varying,
    modes: backend ? backend.name === "cuda" : plan.some(({ place }) => place.backend !== "cpu"),
    color: showsColors(Deno.stdout),
    width: outputWidth(),
    samples,
  };
}

/** Returns the figures that describe all configurations. */
function commonFigures(plan: readonly Configuration[], varying: readonly FigureKey[]): Layout["common"] {
  const [first, ...others] = plan.map(({ job }) => jobFigures(job));
  if (!first) return {};
  const isNamed = Object.hasOwn(presets, first.preset); // its name implies the activation and the router
  const more = isNamed ? [] : [...areDrawn(first.weights) ? [] : ["model"], "activation", "router"];
  const isSpecial = (key: keyof FiguresOf<"job">) => {
    const standard = columnOf(key)?.standard;
    return standard !== undefined && first[key] !== standard;
  };
  const isShown = (key: keyof FiguresOf<"job">) => usualKeys.includes(key) || isSpecial(key) || more.includes(key);
  const isShared = (key: keyof FiguresOf<"job">) => others.every((figures) => figures[key] === first[key]);
  const keys = jobKeys.filter((key) => isShown(key) && !varying.includes(key) && isShared(key));
  return Object.fromEntries(keys.map((key) => [key, first[key]]));
}

/** Returns the figures in which the configurations differ. A figure that follows from others is left out. */
function varyingKeys(plan: readonly Configuration[]): FigureKey[] {
  return distinguishingKeys(plan.map(requested), configurationKeys);
}

/** Returns the length of the longest text of a figure. */
function textLength(plan: readonly Configuration[], key: FigureKey): number {
  const figures: Partial<Record<FigureKey, unknown>>[] = plan.map(requested);
  return Math.max(...figures.map((figures) => formatFigure(key, figures[key]).length));
}

/** Returns the figures that the command line asks for. */
function requested({ job, place }: Configuration): FiguresOf<"job" | "place"> {
  const { device, blas = null } = place;
  return {
    ...{ ...jobFigures(job), gpus: null, exchange: null, ...requestedPlace(place) },
    ...{ device: device === undefined ? null : `${device}`, engine: blas },
  };
}

/** Prints the plan and returns the exit code. */
export function printPlan(plan: readonly Configuration[], format: FormatName = "text"): number {
  const origin = provenance();
  const records = plan.map(({ job, place, problem }) =>
    plannedRecord(
      job,
      requestedPlace(place),
      problem,
      origin,
      jobBytes(job),
    )
  );
  const layout = planLayout(plan);
  if (format === "text") {
    const columns = [
      ...figureColumns(layout.varying),
      ...figureColumns(usualKeys.filter((key) => !layout.varying.includes(key))).map((one) => ({ ...one, rank: 1 })),
      { title: "needs", text: needs },
      { title: "note", text: ({ reason }: typeof records[number]) => reason ?? "", note: true },
    ];
    textTable(columns, records, layout.width).forEach(printData);
  } else {
    const output = RecordOutput.open(format, undefined, layout);
    records.forEach((record) => output.write(record));
    output.close();
  }
  return plan.some(({ problem }) => problem !== null) ? exitCode.failed : exitCode.done;
}

function needs({ peakMemoryBytes }: { readonly peakMemoryBytes: number | null }): string {
  return formatBytes(peakMemoryBytes ?? 0);
}
