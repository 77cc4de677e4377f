import { toJson } from "../report/json.ts";
import { textTable } from "../report/table.ts";
import { type Check, verify } from "../verify/verify.ts";
import { WorkerPool } from "../wasm/worker_pool.ts";
import { command, exitCode, outputWidth, printData, printNote } from "./command.ts";
import { integer, toggle } from "./flags.ts";
import { jobProblem } from "./free_memory.ts";
import { backendFlags, backendFromFlags, jobFlags, jobFromFlags, presetFlag } from "./job_flags.ts";

export default command({
  flags: {
    ...backendFlags,
    preset: presetFlag("small"),
    ...jobFlags,
    samples: integer("N", "Tokens of the job that are computed in float64 (default: 16)", 1, 1_000_000),
    runs: integer("N", "Runs that must give the same bits (default: 3)", 2, 1_000_000),
    json: toggle("Print one JSON array"),
  },
  examples: {
    "yamoe verify": "On the GPU if its kernels are verified, otherwise on the CPU",
    "yamoe verify --backend cuda --preset reference --runs 20": "The reference job, twenty times",
  },
  async run(values) {
    const job = jobFromFlags(values.preset ?? "small", values);
    using pool = new WorkerPool(values.threads);
    using backend = await backendFromFlags(values, pool);
    printNote(`On ${backend.device}`);
    const problem = jobProblem(backend, job, true);
    if (problem !== null) throw new Error(problem);
    const checks: Check[] = [];
    for await (const check of verify(backend, pool, { job, samples: values.samples ?? 16, runs: values.runs ?? 3 })) {
      checks.push(check);
    }
    if (values.json) printData(toJson(checks));
    else textTable(columns, checks, outputWidth()).forEach(printData);
    return checks.every(({ passed }) => passed) ? exitCode.done : exitCode.failed;
  },
});

const number = (value: number) => value === 0 ? "0" : value >= 1 ? value.toFixed(0) : value.toExponential(2);

const columns = [
  { title: "check", text: ({ name }: Check) => name, align: "left" },
  { title: "error", text: ({ error }: Check) => number(error) },
  { title: "bound", text: ({ bound }: Check) => number(bound) },
  { title: "", text: ({ passed }: Check) => passed ? "ok" : "FAILED", align: "left" },
] as const;
