// Checks and measures the kernels on a real GPU, in one run: the tool's own checks, compute-sanitizer over them, times against
// floors that PyTorch measures on the same GPU, and PyTorch on the same job. Prints a table at the end. --output FILE writes every
// figure.
//
//   deno task gpu:check [--output FILE] [--preset NAME] [--runs N] [--presets NAME,NAME|none] [--tokens N,N]
//
// compute-sanitizer and a python3 with PyTorch are used if they are installed. The table names what was not run.
import { parseArgs } from "@std/cli/parse-args";
import type { BenchResult } from "../../src/bench/figures.ts";
import { openCudaBackend } from "../../src/cuda/backend.ts";
import { textTable } from "../../src/report/table.ts";
import type { Check } from "../../src/verify/verify.ts";
import { type PresetName, presets } from "../../src/models/presets.ts";
import { makeJob } from "../../src/workload/workload.ts";
import { type JobFigures, measureJobs } from "./measure.ts";
import { found, run, toolArguments, yamoe, yamoeJson } from "./processes.ts";

const options = parseArgs(Deno.args, {
  string: ["output", "preset", "runs", "presets", "tokens"],
  default: {
    preset: "reference",
    runs: "20",
    tokens: "1,16,64,256,1024,8192,32768",
    presets: Object.entries(presets).flatMap(([name, { dropless }]) => dropless ? [name] : []).join(),
  },
}) as unknown as { output?: string; preset: PresetName; runs: string; presets: string; tokens: string };
const { preset, runs, output } = options;
const measured = options.presets === "none" ? [] : options.presets.split(",") as PresetName[];
const tokenCounts = options.tokens.split(",").map(Number);

/** A row of the table. `passed` is set if the row has a goal. */
interface Row {
  readonly what: string;
  readonly figure: string;
  readonly goal?: string;
  readonly passed?: boolean;
}
const rows: Row[] = [];
const figures: Record<string, unknown> = { preset, time: new Date().toISOString() };

function note(what: string, figure: string, goal?: { text: string; passed: boolean }): void {
  rows.push({ what, figure, ...(goal && { goal: goal.text, passed: goal.passed }) });
  console.error(`${what}: ${figure}`);
}

/** Returns a goal that applies to the reference job only. */
function goal(text: string, passed: boolean): { text: string; passed: boolean } | undefined {
  return preset === "reference" ? { text, passed } : undefined;
}

/** Runs the tool as a user does: the machine, the checks and the job. */
async function checkTool(): Promise<BenchResult> {
  console.error(await yamoe("info"));
  const checks = await yamoeJson<Check[]>("verify", "--backend", "cuda", "--preset", preset, "--runs", runs);
  for (const { name, error, bound, passed } of checks) {
    note(name, error.toExponential(2), { text: `at most ${bound}`, passed });
  }
  const bench = await yamoeJson<BenchResult>("bench", "--backend", "cuda", "--preset", preset, "--iters", runs);
  const { outputSum, kernelTimeMs, kernelTimesMs, peakMemoryBytes, tflops } = bench;
  note("output sum", outputSum.toFixed(4), goal("-150.7194 ± 0.05", Math.abs(outputSum + 150.7194) <= 0.05));
  note("kernel time, ms", ms(kernelTimeMs), goal("at most 10", kernelTimeMs <= 10));
  note("  fastest and slowest run", `${ms(Math.min(...kernelTimesMs))} ${ms(Math.max(...kernelTimesMs))}`);
  note("  useful TFLOP/s", tflops.toFixed(1));
  const peakMiB = peakMemoryBytes / 2 ** 20;
  note("peak memory, MiB", peakMiB.toFixed(1), goal("at most 5200", peakMiB <= 5200));
  Object.assign(figures, { verify: checks, bench });
  return bench;
}

/** Runs the suites that every backend must pass: every dtype, activation and layout, routers and whole layers. */
async function testSuite(): Promise<void> {
  const { code, stdout } = await run(
    Deno.execPath(),
    "test",
    "-A",
    "--no-check",
    "--lock",
    "tests/deno.lock",
    "tests/gpu/suite.ts",
  );
  const [summary = `no summary, exit code ${code}`] = stdout.match(/\d+ passed.*?\d+ failed/) ?? [];
  if (code !== 0) console.error(stdout);
  note("backend tests", summary, { text: "0 failed", passed: code === 0 });
}

const programOf = (file: string) => ["run", "-A", "--no-check", new URL(file, import.meta.url).pathname];
const tilePrograms = { "tiles": programOf("tiles.ts"), "packed tiles": programOf("packed_tiles.ts") };

/** Checks that all tile shapes give the same bits. */
async function compareTiles(): Promise<void> {
  for (const [name, program] of Object.entries(tilePrograms)) {
    const { code, stdout } = await run(Deno.execPath(), ...program);
    note(name, code === 0 ? stdout.trim() : "results differ", { text: "the same bits", passed: code === 0 });
  }
}

/** Checks that calls have the same bits beside another stream's. */
async function computeInTwoStreams(): Promise<void> {
  const { code, stdout } = await run(Deno.execPath(), ...programOf("streams.ts"));
  const lines = stdout.trim() || `no result, exit code ${code}`;
  for (const line of lines.split("\n")) note("two streams", line, { text: "the same bits", passed: code === 0 });
}

/** Runs the sanitizer's four tools over small jobs. They slow the kernels down a hundredfold. */
async function sanitize(): Promise<void> {
  const small = "--batch 2 --seq 200 --hidden 264 --experts 5 --runs 2".split(" ");
  const programs = { verify: toolArguments("verify", "--backend", "cuda", ...small), ...tilePrograms };
  const installed = await found("compute-sanitizer");
  for (const tool of ["memcheck", "racecheck", "initcheck", "synccheck"]) {
    const name = `compute-sanitizer ${tool}`;
    if (!installed) {
      note(name, "not run: compute-sanitizer is not installed");
      continue;
    }
    for (const [what, args] of Object.entries(programs)) {
      const sanitizer = ["--tool", tool, "--error-exitcode", "9", Deno.execPath()];
      // racecheck does not see that a lane's arrival, after __syncwarp(), orders the reads of the others. So it reports the kernels
      // for few rows: see cuda/LADDER.md.
      const rows = tool === "racecheck" && args === tilePrograms["packed tiles"] ? ["64", "160", "192"] : [];
      const { code, stdout } = await run("compute-sanitizer", ...sanitizer, ...args, ...rows);
      const summary = stdout.match(/SUMMARY: (.*)/)?.[1] ?? `no summary, exit code ${code}`;
      const passed = code === 0 && /\b0 (errors|hazards)/.test(summary);
      note(`${name}, ${what}`, summary, { text: "0 errors", passed });
    }
  }
}

interface PyTorchFigures
  extends Record<"padded" | "groupedF16" | "groupedBf16", { ms: number; peakMb: number } | { error: string }> {
  readonly copyBytesPerSecond: number;
  readonly productFlops: number;
}

/** Runs PyTorch on the same GPU: the floors, and the same job by other operations. */
async function compare({ kernelTimeMs }: BenchResult): Promise<PyTorchFigures | undefined> {
  const { batch, seq, hidden, intermediate, experts, topK, capacity } = makeJob(preset);
  const sizes = JSON.stringify({ tokens: batch * seq, hidden, intermediate, experts, topK, capacity });
  const script = new URL("pytorch.py", import.meta.url).pathname;
  const { code, stdout } = await found("python3") ? await run("python3", script, sizes) : { code: 1, stdout: "" };
  if (code !== 0) {
    note("PyTorch", "not run: python3 with PyTorch and a GPU was not found");
    return undefined;
  }
  const torch: PyTorchFigures = JSON.parse(stdout);
  note("a large copy, GB/s", (torch.copyBytesPerSecond / 1e9).toFixed(0));
  note("a large f16 product, TFLOP/s", (torch.productFlops / 1e12).toFixed(0));
  for (const name of ["padded", "groupedF16", "groupedBf16"] as const) {
    const other = torch[name];
    if ("error" in other) {
      note(`PyTorch ${name}`, `not run: ${other.error}`);
      continue;
    }
    note(`PyTorch ${name}, ms`, `${ms(other.ms)} in ${other.peakMb.toFixed(0)} MB`);
    const ratio = other.ms / kernelTimeMs;
    note("  over ours", ratio.toFixed(2), name === "padded" ? goal("at least 2.5", ratio >= 2.5) : undefined);
  }
  return torch;
}

/** A row of the table of times. `floor` is undefined without PyTorch. */
interface Timed {
  readonly what: string;
  readonly milliseconds: number;
  readonly replayMilliseconds?: number;
  readonly flops: number;
  readonly bytes: number;
  readonly floor: number | undefined;
}

/** Measures times against floors: the job kernel by kernel, and the whole call of every preset at four numbers of tokens. */
async function measure(torch: PyTorchFigures | undefined): Promise<Timed[]> {
  using backend = await openCudaBackend();
  const floorOf = ({ flops, bytes }: { flops: number; bytes: number }) =>
    torch && Math.max(flops / torch.productFlops, bytes / torch.copyBytesPerSecond) * 1e3;
  const sumOf = (values: (number | undefined)[]) => values.reduce<number>((sum, value) => sum + (value ?? NaN), 0);
  const whole = ({ preset, tokens, kernels, milliseconds, replayMilliseconds }: JobFigures): Timed => ({
    ...{ what: `${preset}, ${tokens} tokens`, milliseconds, replayMilliseconds },
    flops: sumOf(kernels.map(({ flops }) => flops)),
    bytes: sumOf(kernels.map(({ bytes }) => bytes)),
    floor: torch && sumOf(kernels.map(floorOf)),
  });
  const all: JobFigures[] = [], timed: Timed[] = [];
  const main = makeJob(preset);
  for await (const job of measureJobs(backend, main, [main.batch * main.seq])) {
    all.push(job);
    timed.push(
      whole(job),
      ...job.kernels.map((kernel) => ({ ...kernel, what: `  ${kernel.kernel}`, floor: floorOf(kernel) })),
    );
    const { bytes, milliseconds } = job.kernels.at(-1)!;
    const part = torch && bytes / milliseconds * 1e3 / torch.copyBytesPerSecond;
    if (part) note("gather-and-sum, of the copy's bandwidth", part.toFixed(2), goal("at least 0.85", part >= 0.85));
  }
  for (const name of measured) {
    try {
      for await (const job of measureJobs(backend, makeJob(name), tokenCounts)) {
        all.push(job);
        timed.push(whole(job));
        console.error(`${name}, ${job.tokens} tokens: ${ms(job.milliseconds)} ms`);
      }
    } catch (error) {
      note(name, `not measured: ${(error as Error).message}`);
    }
  }
  figures.measured = all;
  return timed;
}

const ms = (value: number) => value.toFixed(3);

const bench = await checkTool();
await testSuite();
await compareTiles();
await computeInTwoStreams();
await sanitize();
const torch = await compare(bench);
const timed = await measure(torch);
figures.pytorch = torch;
figures.rows = rows;
if (output) await Deno.writeTextFile(output, JSON.stringify(figures, undefined, 2));

textTable<Timed>([
  { title: "job or kernel", text: ({ what }) => what, align: "left" },
  { title: "ms", text: ({ milliseconds }) => milliseconds.toFixed(4) },
  { title: "replay", text: ({ replayMilliseconds }) => replayMilliseconds?.toFixed(4) ?? "" },
  { title: "TFLOP/s", text: ({ flops, milliseconds }) => (flops / milliseconds / 1e9).toFixed(1) },
  { title: "GB/s", text: ({ bytes, milliseconds }) => (bytes / milliseconds / 1e6).toFixed(0) },
  { title: "floor/time", text: ({ floor, milliseconds }) => floor ? (floor / milliseconds).toFixed(2) : "" },
], timed).forEach((line) => console.log(line));
console.log("");
textTable<Row>([
  { title: "check", text: ({ what }) => what, align: "left" },
  { title: "figure", text: ({ figure }) => figure, align: "left" },
  { title: "goal", text: ({ goal = "" }) => goal, align: "left" },
  { title: "", text: ({ passed }) => passed === undefined ? "" : passed ? "ok" : "MISSED", align: "left" },
], rows).forEach((line) => console.log(line));
Deno.exit(rows.some(({ passed }) => passed === false) ? 1 : 0);
