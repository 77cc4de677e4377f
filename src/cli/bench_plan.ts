// What a sweep is about to do, and what of it tells its rows apart.
import type { Backend } from "../backend/backend.ts";
import { provenance } from "../bench/provenance.ts";
import { type BenchRecord, plannedRecord } from "../bench/record.ts";
import { identityColumns } from "../report/columns.ts";
import type { FormatName, Layout } from "../report/format.ts";
import { textTable } from "../report/table.ts";
import type { Configuration } from "../bench/sweep.ts";
import { jobBytes } from "../workload/workload.ts";
import { exitCode, printData } from "./command.ts";
import { RecordOutput } from "./record_output.ts";

/** What a table of the plan's records needs to know beforehand. */
export function planLayout(
  plan: readonly Configuration[],
  backend?: Pick<Backend, "name">,
  against = false,
): Layout {
  const identities = plan.map(({ job, place }) => ({ ...job, ...place }));
  const keys = Object.keys(identities[0]!) as (keyof typeof identities[number])[];
  const varying = keys.filter((key) => new Set(identities.map((identity) => identity[key])).size > 1);
  return {
    varying: [...varying, ...(against ? ["backend"] : [])] as (keyof BenchRecord)[],
    modes: backend ? backend.name === "cuda" : plan.some(({ place }) => place.backend !== "cpu"),
    color: Deno.stdout.isTerminal() && !Deno.noColor,
  };
}

/** Prints the plan and returns the exit code. */
export function printPlan(plan: readonly Configuration[], format: FormatName = "text"): number {
  const origin = provenance();
  const records = plan.map(({ job, place, problem }) =>
    plannedRecord(
      job,
      { backend: place.backend, device: null, threads: place.threads ?? null },
      problem,
      origin,
      jobBytes(job) / 2 ** 20,
    )
  );
  const layout = planLayout(plan);
  if (format === "text") {
    const columns = [
      ...identityColumns([
        "backend",
        "preset",
        "batch",
        "seq",
        "hidden",
        "intermediate",
        "experts",
        "topK",
        "capacity",
        "dtype",
        ...layout.varying,
      ]),
      { title: "needs MB", text: ({ peakMemoryMb }: BenchRecord) => peakMemoryMb!.toFixed(2) },
      { title: "note", text: ({ reason }: BenchRecord) => reason ?? "", align: "left" as const },
    ];
    textTable(columns, records).forEach(printData);
  } else {
    const output = RecordOutput.open(format, undefined, layout);
    records.forEach((record) => output.write(record));
    output.close();
  }
  return plan.some(({ problem }) => problem !== null) ? exitCode.failed : exitCode.done;
}
