import { toJson } from "../report/json.ts";
import { textTable } from "../report/table.ts";
import { type Check, verify } from "../verify/verify.ts";
import { openRankBackend } from "../parallel/open_parallel.ts";
import { WholeBackend } from "../parallel/whole_backend.ts";
import { plural } from "../text.ts";
import { WorkerPool } from "../wasm/worker_pool.ts";
import { command, exitCode, outputWidth, printData, printNote, writeData } from "./command.ts";
import { integer, toggle } from "./flags.ts";
import { jobProblem } from "./free_memory.ts";
import { onInterrupt } from "./interrupt.ts";
import { backendFlags, backendFromFlags, jobFlags, jobFromFlags, presetFlag } from "./job_flags.ts";
import { failRank, gpusFlags, ncclFlag, partOfProcess, prepareRank, rankError, RankStarter } from "./several_gpus.ts";

export default command({
  flags: {
    ...backendFlags,
    gpus: gpusFlags.gpus,
    nccl: ncclFlag,
    preset: presetFlag("small"),
    ...jobFlags,
    samples: integer("N", "Tokens of the job that are computed in float64 (default: 16)", 1, 1_000_000),
    runs: integer("N", "Runs that must give the same bits (default: 3)", 2, 1_000_000),
    json: toggle("Print one JSON array"),
  },
  examples: {
    "yamoe verify": "On the GPU if its kernels are verified, otherwise on the CPU",
    "yamoe verify --backend cuda --preset reference --runs 20": "The reference job, twenty times",
    "yamoe verify --gpus 2": "All checks with the experts shared over two GPUs",
  },
  async run(values) {
    const job = jobFromFlags(values.preset ?? "small", values);
    const { gpus, nccl } = values;
    const part = gpus === undefined ? undefined : partOfProcess();
    if (gpus !== undefined && part?.kind === "starter") return await runRanks(gpus);
    using pool = new WorkerPool(values.threads);
    const placement = gpus !== undefined && part?.kind === "rank" ? part.placement : undefined;
    const prints = !placement || prepareRank(placement, [gpus ?? 1]);
    using backend = placement
      ? await openRankBackend({ placement, nccl, exitWhenLost: true }, WholeBackend)
      : await backendFromFlags(values, pool);
    if (prints) printNote(`On ${backend.device}${gpus === undefined ? "" : `, ${plural(gpus, "GPU")}`}`);
    const problem = jobProblem(backend, job, true);
    if (problem !== null) throw new Error(problem);
    const checks: Check[] = [];
    try {
      const options = { job, samples: values.samples ?? 16, runs: values.runs ?? 3 };
      for await (const check of verify(backend, pool, options)) checks.push(check);
    } catch (error) {
      failRank(backend, error);
      throw error;
    }
    if (values.json) printData(toJson(checks));
    else textTable(columns, checks, outputWidth()).forEach(printData);
    return checks.every(({ passed }) => passed) ? exitCode.done : exitCode.failed;
  },
});

/** Runs this command on ranks that it starts. */
async function runRanks(gpus: number): Promise<number> {
  using starter = new RankStarter();
  onInterrupt(() => starter[Symbol.dispose]());
  const result = await starter.run(gpus, undefined, printNote);
  if (result.failed && result.stdout === "") throw rankError(result);
  writeData(result.stdout);
  return result.failed ? exitCode.failed : exitCode.done;
}

const number = (value: number) => value === 0 ? "0" : value >= 1 ? value.toFixed(0) : value.toExponential(2);

const columns = [
  { title: "check", text: ({ name }: Check) => name, align: "left" },
  { title: "error", text: ({ error }: Check) => number(error) },
  { title: "bound", text: ({ bound }: Check) => number(bound) },
  { title: "", text: ({ passed }: Check) => passed ? "ok" : "FAILED", align: "left" },
] as const;
