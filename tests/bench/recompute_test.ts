// Recomputes every derived figure of JSON rows from their samples. Nothing of src/ is imported, so that a fault there is found.
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { words, yamoe } from "../cli/yamoe.ts";

/** The figures that are one number. */
type Numbers = Readonly<
  Record<
    | ("kernelTimeMs" | "minTimeMs" | "maxTimeMs" | "meanTimeMs" | "madMs" | "iqrMs" | "iters" | "outliers" | "noise")
    | (
      | "p95Ms"
      | "p99Ms"
      | "deviationMs"
      | "drift"
      | "assignments"
      | "kept"
      | "dropped"
      | "droppedFraction"
      | "imbalance"
    )
    | ("batch" | "seq" | "hidden" | "intermediate" | "experts" | "topK" | "capacity" | "sharedIntermediate" | "ep")
    | ("tflops" | "tokensPerSecond" | "gigabytesPerSecond" | "intensity" | "percentOfPeak" | "peakTflops")
    | "peakGigabytesPerSecond",
    number
  >
>;

/** A row, as any program reads it. Some of the numbers can be null. */
interface Row extends Numbers {
  readonly kernelTimesMs: number[];
  readonly tokensPerExpert: number[];
  readonly medianIntervalMs: [number, number] | null;
  readonly dtype: string;
  readonly formats: string;
  readonly op: string;
  readonly gated: boolean;
  readonly boundBy: string;
}

/** The quantile with linear interpolation, numpy's default. */
function quantile(values: number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b), at = q * (sorted.length - 1), low = Math.floor(at);
  const next = sorted[Math.min(low + 1, sorted.length - 1)] ?? NaN, first = sorted[low] ?? NaN;
  return first + (next - first) * (at - low);
}

const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;

/** The ranks of the interval of the median, counted from 1: the largest r whose both tails of Binomial(n, ½) have 5 %. */
function rankOfInterval(n: number): number {
  let coefficient = 1n, tail = 0n, rank = 0;
  for (let k = 0; 2 * k < n; k++) {
    tail += coefficient;
    if (2n * tail * 20n > 1n << BigInt(n)) break; // 2 · tail / 2^n > 1 / 20
    rank = k + 1;
    coefficient = coefficient * BigInt(n - k) / BigInt(k + 1);
  }
  return rank;
}

const bytesOf: Record<string, number> = { f16: 2, bf16: 2, f32: 4 };

/** The bytes of a weight [out, in] of one expert. */
function weightBytes(formats: string, out: number, input: number): number {
  const elements = out * input;
  switch (formats) {
    case "mxfp4":
      return elements / 2 + elements / 32; // a byte of scale for 32 numbers
    case "nvfp4":
      return elements / 2 + elements / 16 + 4; // a byte of scale for 16 numbers, and one f32
    case "int4":
      return elements / 2 + 2 * elements / 32; // a bf16 scale for 32 numbers
    case "fp8":
      return elements + 4 * Math.ceil(out / 128) * Math.ceil(input / 128); // an f32 scale for a block
    default:
      return (bytesOf[formats] ?? NaN) * elements;
  }
}

function check(row: Row): void {
  const near = (name: keyof Numbers, expected: number) =>
    assertAlmostEquals(row[name], expected, 1e-9 * Math.max(1e-12, Math.abs(expected)), name);
  const times = row.kernelTimesMs, n = times.length;
  const sorted = times.toSorted((a, b) => a - b);
  const median = quantile(times, 0.5);
  assertEquals(row.iters, n);
  near("kernelTimeMs", median);
  near("minTimeMs", Math.min(...times));
  near("maxTimeMs", Math.max(...times));
  near("meanTimeMs", mean(times));
  const distances = times.map((time) => Math.abs(time - median));
  const mad = quantile(distances, 0.5);
  near("madMs", mad);
  near("iqrMs", quantile(times, 0.75) - quantile(times, 0.25));
  assertEquals(row.outliers, mad > 0 ? distances.filter((distance) => distance > 14.826 * mad).length : 0);
  if (n < 20) assertEquals(row.p95Ms, null);
  else near("p95Ms", quantile(times, 0.95));
  if (n < 100) assertEquals(row.p99Ms, null);
  else near("p99Ms", quantile(times, 0.99));
  if (n < 2) assertEquals(row.deviationMs, null);
  else near("deviationMs", Math.sqrt(times.reduce((sum, time) => sum + (time - mean(times)) ** 2, 0) / (n - 1)));
  const rank = rankOfInterval(n);
  if (rank === 0) assertEquals([row.medianIntervalMs, row.noise], [null, null]);
  else {
    assertEquals(row.medianIntervalMs, [sorted[rank - 1], sorted[n - rank]]);
    near("noise", ((sorted[n - rank] ?? NaN) - (sorted[rank - 1] ?? NaN)) / 2 / median);
  }
  const half = Math.floor(n / 2);
  if (n < 8) assertEquals(row.drift, null);
  else near("drift", quantile(times.slice(n - half), 0.5) / quantile(times.slice(0, half), 0.5) - 1);

  const counts = row.tokensPerExpert;
  const assignments = counts.reduce((a, b) => a + b, 0);
  const kept = counts.reduce((sum, count) => sum + Math.min(count, row.capacity ?? Infinity), 0);
  assertEquals([row.assignments, row.kept, row.dropped], [assignments, kept, assignments - kept]);
  near("droppedFraction", 1 - kept / assignments);
  near("imbalance", Math.max(...counts) / mean(counts));
  if (row.ep === 1) assertEquals(assignments, row.batch * row.seq * row.topK);

  const { hidden, intermediate, experts, sharedIntermediate, gated } = row;
  const tokens = row.batch * row.seq, columns = gated ? 2 * intermediate : intermediate;
  const width = bytesOf[row.dtype] ?? NaN, isLayer = row.op === "moe";
  const sharedColumns = gated ? 2 * sharedIntermediate : sharedIntermediate;
  const layerFlops = isLayer ? 2 * tokens * hidden * (experts + sharedColumns + sharedIntermediate) : 0;
  const flops = 2 * kept * hidden * (columns + intermediate) + layerFlops;
  near("tflops", flops / (median * 1e-3) / 1e12);
  near("tokensPerSecond", tokens / (median * 1e-3));
  // Weights of the experts that have tokens with their biases, tokens in and out, indices and weights of the assignments.
  const active = counts.filter((count) => count > 0).length;
  const weights = active * (weightBytes(row.formats, columns, hidden) + weightBytes(row.formats, hidden, intermediate));
  const biases = active * (columns + hidden);
  const routing = tokens * row.topK * ((isLayer ? 4 : width) + 4);
  const shared = sharedIntermediate > 0 && isLayer
    ? hidden * (sharedColumns + sharedIntermediate) + sharedColumns + hidden
    : 0;
  const bytes = weights + width * (biases + 2 * tokens * hidden + (isLayer ? experts * hidden + shared : 0)) + routing;
  near("gigabytesPerSecond", bytes / (median * 1e-3) / 1e9);
  near("intensity", flops / bytes);
  if (row.percentOfPeak !== null) {
    const compute = 100 * row.tflops / row.peakTflops,
      memory = 100 * row.gigabytesPerSecond / row.peakGigabytesPerSecond;
    near("percentOfPeak", Math.max(compute, memory));
    assertEquals(row.boundBy, compute >= memory ? "compute" : "memory");
  }
}

const lines: Record<string, string> = {
  "one call": "--preset tiny --seq 8 --iters 1",
  "few calls": "--preset tiny --seq 8,16 --iters 7",
  "many calls": "--preset tiny --seq 8 --hidden 32 --iters 120",
  "a tight capacity": "--preset tiny --seq 16 --capacity 3,none --iters 21",
  "a skew and a share of the experts": "--preset tiny --seq 32 --skew 0.5,1.5,worst --ep 1,4 --iters 6",
  "packed weights":
    "--preset gpt-oss-20b --hidden 160 --intermediate 96 --experts 4 --tokens 3 --weights dense,mxfp4,nvfp4,int4,fp8 --iters 6",
  "a whole layer with a shared expert":
    "--preset glm-4.5 --op experts,moe --tokens 24 --hidden 64 --intermediate 48 --experts 16 --iters 6",
};

for (const [name, line] of Object.entries(lines)) {
  Deno.test(`every figure of a row follows from its samples: ${name}`, async () => {
    const { code, stdout, stderr } = await yamoe(words(`bench --backend cpu ${line} --format jsonl`));
    assertEquals(code, 0, stderr);
    const rows = stdout.trimEnd().split("\n").map((row) => JSON.parse(row));
    assert(rows.length > 0);
    rows.forEach(check);
  });
}

/** The records of the page in the repository, which a GPU made. */
const records = new URL("../../fixtures/benchmark/", import.meta.url);

for (const { name } of [...Deno.readDirSync(records)].filter(({ name }) => name.endsWith(".jsonl"))) {
  Deno.test(`every figure of a row follows from its samples: fixtures/benchmark/${name}`, () => {
    const rows = Deno.readTextFileSync(new URL(name, records)).trimEnd().split("\n").map((row) => JSON.parse(row));
    assert(rows.length > 0);
    rows.forEach(check);
  });
}

Deno.test("the ratio of an A/B run and its interval follow from the pairs of calls", async () => {
  const line =
    "bench --preset tiny --seq 8 --backend cpu --iters 15 --min-time 0.01 --max-noise 1000 --timeout 20 --json --quiet --ab";
  const { code, stdout, stderr } = await yamoe([...words(line), "--threads 1", "--threads 1 --seq 16"]);
  assertEquals(code, 0, stderr);
  const { a, b, pairs, ratio, ratioInterval } = JSON.parse(stdout);
  check(a);
  check(b);
  assertEquals([a.kernelTimesMs.length, b.kernelTimesMs.length], [pairs, pairs]);
  const ratios: number[] = a.kernelTimesMs.map((time: number, i: number) => b.kernelTimesMs[i] / time)
    .toSorted((a: number, b: number) => a - b);
  const middle = [Math.floor((pairs - 1) / 2), Math.floor(pairs / 2)].map((i) => Math.log(ratios[i] ?? NaN));
  assertAlmostEquals(ratio, Math.exp(mean(middle)), 1e-9);
  const rank = rankOfInterval(pairs);
  [ratios[rank - 1], ratios[pairs - rank]].forEach((bound = NaN, i) =>
    assertAlmostEquals(ratioInterval[i], bound, 1e-9 * bound)
  );
});
