// Runs jobs on one emulator, in a process of its own, because a mutant may crash or never end.
//
//   mutant.ts ARCH LIBRARY [RECORDS]
//
// Without records it runs every job of the architecture and prints a record of each, one JSON object a line. With records, a
// JSON array, it runs the jobs that they name, stops at the first one whose result differs and prints the difference.
import { manifest } from "../../../src/cuda/images/built/manifest.ts";
import { Control } from "../control.ts";
import { hopperJobs, jobs } from "./jobs.ts";

/** What a job did. */
export interface JobRecord {
  readonly name: string;
  /** A digest of all results and of the numbers of bank conflicts. */
  readonly digest: string;
  /** The kernels that it launched. */
  readonly kernels: readonly string[];
  /** Accesses, barriers and collectives of the longest launch. */
  readonly steps: number;
  readonly milliseconds: number;
}

if (import.meta.main) {
  const [arch, library, list] = Deno.args as [string, string, string?];
  const expected = list === undefined ? undefined : JSON.parse(list) as JobRecord[];
  const byName = new Map((arch === "90" ? hopperJobs : jobs).map((job, i) => [job.name, { seed: i % 2, ...job }]));
  const control = new Control(library);
  for (const name of expected?.map(({ name }) => name) ?? byName.keys()) {
    const { run, seed, preempt, tickets } = byName.get(name)!;
    const known = expected?.find((record) => record.name === name);
    control.reset();
    control.schedule(seed, preempt, tickets); // every other job runs its threads in another order
    control.limitSteps(known ? 10 * known.steps + 10_000 : 0);
    const start = performance.now();
    try {
      const results = await run(library);
      const counters = manifest.images[`sm_${arch}`]!.kernels.map(({ name }) => ({ name, ...control.counters(name) }))
        .filter(({ launches }) => launches > 0);
      const conflicts = counters.flatMap(({ bankConflicts, copyConflicts }) => [bankConflicts, copyConflicts]);
      const bytes = await new Blob([...results as BlobPart[], JSON.stringify(conflicts)]).arrayBuffer();
      const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
      const record: JobRecord = {
        ...{ name, digest, kernels: counters.map(({ name }) => name), steps: control.limitSteps(0) },
        milliseconds: performance.now() - start,
      };
      if (!expected) {
        console.log(JSON.stringify(record));
      } else if (digest !== known!.digest) {
        console.log(`result: ${name}`);
        Deno.exit();
      }
    } catch (error) {
      console.log(`check: ${name}: ${control.report || (error instanceof Error ? error.message : error)}`);
      Deno.exit();
    }
  }
  if (expected) console.log("survived");
}
