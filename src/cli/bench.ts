import { bench } from "../bench.ts";
import { toJson } from "../report/json.ts";
import { describeJob, formatBytes, plural, runNotes, threeLines } from "../report/text.ts";
import { version } from "../version.ts";
import { Engine } from "../wasm/engine.ts";
import { jobBytes } from "../workload.ts";
import { command, exitCode, printData, printNote } from "./command.ts";
import { integer, toggle, UsageError } from "./flags.ts";
import { freeMemory } from "./free_memory.ts";
import { backendFlags, backendFromFlags, jobFlags, jobFromFlags, presetFlag } from "./job_flags.ts";
import { ProgressBar } from "./progress.ts";

export default command({
  summary: "Run a synthetic job and print its output sum, time and memory",
  flags: {
    preset: presetFlag("reference"),
    ...jobFlags,
    warmup: integer("N", "Calls before the timed ones (default: 0 on the CPU, 5 on a GPU)", 0, 1_000_000),
    iters: integer("N", "Timed calls (default: 1)", 1, 1_000_000),
    ...backendFlags,
    json: toggle("Print one JSON object instead of three lines"),
  },
  examples: {
    "yamoe bench": "The reference job: 262,144 tokens, 32 experts, top 4",
    "yamoe bench --preset small --iters 5": "A job of seconds, the median of five calls",
    "yamoe bench --preset tiny --capacity none --json": "Nothing dropped; every figure, for a script",
  },
  async run(values) {
    const job = jobFromFlags(values.preset ?? "reference", values);
    using engine = new Engine(values.threads);
    using backend = await backendFromFlags(values, engine);
    const onCpu = backend.name === "cpu";
    const need = jobBytes(job);
    const free = onCpu ? freeMemory() : undefined;
    if (free !== undefined && free < need) {
      throw new UsageError(
        `The job needs ${formatBytes(need)} of memory, and ${formatBytes(free)} are free; make it smaller`,
      );
    }
    printNote(`yamoe ${version}, ${describeJob(job)}`);
    printNote(
      `On ${backend.device}${onCpu ? `, ${plural(engine.threads, "thread")}, ${backend.engine}` : ""}; needs ${
        formatBytes(need)
      } of memory`,
    );

    using progress = new ProgressBar();
    const result = await bench(job, backend, engine, {
      warmup: values.warmup ?? (onCpu ? 0 : 5),
      iters: values.iters ?? 1,
      onProgress: (phase, fraction) => progress.show(phase, fraction),
    });
    progress[Symbol.dispose]();
    if (values.json) {
      printData(toJson(result));
    } else {
      threeLines(result).forEach(printData);
    }
    runNotes(result).forEach(printNote);
    return exitCode.done;
  },
});
