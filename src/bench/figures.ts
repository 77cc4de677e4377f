/**
 * The figures of a record, in the order in which files and tables have them. The type of a record, the columns of every
 * format, the checks of what is read, and what makes two records comparable derive from this table.
 *
 * @module
 */
import type { BackendDetails } from "../backend/details.ts";
import { plural } from "../text.ts";
import type { OutputSummary } from "../workload/output_summary.ts";
import type { Job } from "../workload/workload.ts";
import {
  type Column,
  count,
  type Figure,
  flag,
  integer,
  interval,
  job,
  type Kind,
  list,
  number,
  numberOr,
  oneOf,
  orNull,
  outcome,
  place,
  positive,
  profiledKernel,
  provenance,
  result,
  size,
  text,
} from "./figure.ts";
import type { Provenance } from "./provenance.ts";

/** The table needs a figure for every member of these types. */
type Required = Readonly<Record<keyof Job | keyof OutputSummary | keyof Provenance | keyof BackendDetails, unknown>>;

/** The version of the table. A change that old files need to be migrated for raises it. */
export const schemaVersion = 2;

/** A figure is one line here. Times are in milliseconds. */
export const figures = {
  /** What happened to the configuration. */
  status: outcome(oneOf("ok", "failed", "planned")),
  /** Why the configuration did not run. */
  reason: outcome(orNull(text)),

  /** The version of this table. Files without it have the first one. */
  schema: outcome(oneOf(schemaVersion)),

  /** The model that the layer is from, or "custom". */
  model: job(text, { title: "model", width: 12, align: "left" }),
  /** What was timed: the experts, or a whole layer with its router and its shared expert. */
  op: job(oneOf("experts", "moe"), { title: "op", width: 7, align: "left", usual: true, standard: "experts" }),
  preset: job(text, { title: "preset", width: 9, align: "left", usual: true }),
  backend: place(text, { title: "backend", width: 8, align: "left", usual: true }),
  device: place(orNull(text), { title: "device", width: 21, align: "left" }),
  threads: place(orNull(count), { title: "threads", width: 7, axis: "Threads", words: counted("thread") }),
  /** The number of GPUs that shared the experts; null on the CPU. The tokens of the job are those of each GPU. */
  gpus: place(orNull(size), { title: "GPUs", width: 4, axis: "GPUs", words: counted("GPU") }),
  /** How rows traveled between the GPUs: "assignments" or "tokens"; null on one GPU. */
  exchange: place(orNull(text), { title: "exchange", width: 11, align: "left" }),
  /** What multiplied: WebAssembly, a BLAS library, or a kernel image. */
  engine: place(orNull(text), { title: "engine", width: 15, align: "left" }),
  dtype: job(text, { title: "dtype", width: 5, align: "left", usual: true }),
  /** The format of drawn weights, "dense" or packed, or the path of a checkpoint. */
  weights: job(text, { title: "weights", width: 7, align: "left", standard: "dense" }),
  /** The number of the checkpoint's layer. */
  layer: job(orNull(count), { title: "layer", width: 5, words: named("layer"), standard: null }),
  /** How the weights are stored: a dtype, or a packed format. */
  formats: job(text, { title: "formats", width: 7, align: "left" }),
  batch: job(size, { title: "batch", width: 5, usual: true, axis: "Batch size", words: named("batch") }),
  seq: job(size, { title: "seq", width: 5, usual: true, axis: "Tokens per sequence", words: named("seq") }),
  hidden: job(size, { title: "hidden", width: 6, usual: true, axis: "Hidden size", words: named("hidden") }),
  intermediate: job(size, {
    ...{ title: "interm.", width: 7, usual: true, axis: "Intermediate size", words: named("intermediate") },
  }),
  experts: job(size, { title: "experts", width: 7, usual: true, axis: "Experts", words: counted("expert") }),
  topK: job(size, { title: "top-k", width: 5, usual: true, axis: "Experts per token", words: named("top") }),
  /** The maximum number of assignments per expert; null if nothing is dropped. */
  capacity: job(orNull(size), { title: "capacity", width: 8, none: "none", usual: true, words: named("capacity") }),
  seed: job(integer, { title: "seed", width: 4, words: named("seed") }),
  activation: job(orNull(text), { title: "activation", width: 10, align: "left" }),
  activationAlpha: job(orNull(number), { title: "alpha", width: 5, words: named("alpha") }),
  /** The limit of the activation; null if it has none. */
  activationLimit: job(orNull(number), { title: "limit", width: 5, none: "none", words: named("limit") }),
  gated: job(orNull(flag), { title: "gated", width: 5, align: "left", words: named("gated") }),
  gateUpLayout: job(orNull(text), { title: "gate/up", width: 12, align: "left" }),
  weightLayout: job(orNull(text), { title: "layout", width: 7, align: "left" }),
  biases: job(orNull(text), { title: "biases", width: 6, align: "left", words: named("biases") }),
  /** The file of the hidden states; null if they are drawn. */
  hiddenFile: job(orNull(text), {
    ...{ title: "input", width: 6, align: "left", none: "drawn", words: named("input"), standard: null },
  }),
  /** Zipf's exponent of the experts' popularity; 0 for the router's own logits, "worst" if all tokens choose the same. */
  skew: job(numberOr("worst"), { title: "skew", width: 5, words: named("skew"), standard: 0 }),
  /** The number of ranks that share the experts. */
  ep: job(size, { title: "EP", width: 2, words: named("EP"), standard: 1 }),
  /** The kind of the router. */
  router: job(orNull(text), { title: "router", width: 12, align: "left" }),
  sharedIntermediate: job(orNull(count), { title: "shared", width: 6, words: named("shared expert") }),
  batchInvariant: job(orNull(flag), { title: "invariant", width: 9, align: "left", words: named("batch-invariant") }),

  /** The median of `kernelTimesMs`. */
  kernelTimeMs: result(positive, { title: "time ms", width: 8, digits: "significant" }),
  /** The time of each timed call, by the device's clock where it has one. */
  kernelTimesMs: result(list(positive)),
  /** Half the width of the median's interval over the median; null if the interval is unknown. */
  noise: result(orNull(number), { title: "noise", width: 6, unit: "percent", rank: 1 }),
  /** The 95 % confidence interval of the median; null below 6 calls. */
  medianIntervalMs: result(orNull(interval)),
  /** Calls before the timed ones. */
  warmup: result(count),
  /** Timed calls. */
  iters: result(count, { title: "runs", width: 5, rank: 6 }),
  minTimeMs: result(positive),
  maxTimeMs: result(positive),
  meanTimeMs: result(positive),
  /** The 95th percentile of the times; null below 20 calls. */
  p95Ms: result(orNull(positive), { title: "p95 ms", width: 8, digits: "significant", rank: 12 }),
  /** The 99th percentile of the times; null below 100 calls. */
  p99Ms: result(orNull(positive), { title: "p99 ms", width: 8, digits: "significant", rank: 13 }),
  /** The standard deviation of the times; null for one call. Outliers dominate it: prefer `madMs` or `iqrMs`. */
  deviationMs: result(orNull(number), { title: "std ms", width: 8, digits: "significant", onRequest: true }),
  /** Median absolute deviation of the times. */
  madMs: result(number),
  /** Interquartile range of the times. */
  iqrMs: result(number),
  /** The number of calls that took far longer or shorter than the rest. */
  outliers: result(count),
  /** How much slower the second half of the calls was, as a fraction; null below 8 calls. */
  drift: result(orNull(number)),
  /** Whether the stop rule was met before its timeout; null without a stop rule. */
  converged: result(orNull(flag)),
  /** How often per second the operating system took a CPU from this process during the timed calls. */
  preemptionsPerSecond: result(number),
  /** The share of all CPU time that other programs used during the timed calls; null if it is unknown. */
  otherLoad: result(orNull(number)),
  /** The median clock of the GPU's multiprocessors during the timed calls, in MHz; null without NVML. */
  runClockMhz: result(orNull(number), { title: "MHz", width: 5, digits: 0, gpuOnly: true, rank: 8 }),
  /** The same of the GPU's memory. */
  runMemoryClockMhz: result(orNull(number)),
  /** The median power during the timed calls. The GPU averages it over a part of a second. */
  powerWatts: result(orNull(number), { title: "W", width: 5, digits: 0, gpuOnly: true, rank: 8 }),
  /** The highest temperature during the timed calls. */
  temperatureCelsius: result(orNull(number), { title: "°C", width: 4, digits: 0, gpuOnly: true, rank: 9 }),
  /** The energy between the first and the last timed call over the calls: pauses between calls count too. */
  energyPerCallJoules: result(orNull(number), {
    title: "J/call",
    width: 7,
    digits: "significant",
    gpuOnly: true,
    rank: 9,
  }),
  /** Why the GPU lowered its clocks during the timed calls. */
  throttleReasons: result(list(text)),
  /** The median with emptied caches; null if it was not measured. */
  coldTimeMs: result(orNull(positive), { title: "cold ms", width: 8, digits: "significant", gpuOnly: true, rank: 5 }),
  /** The median of calls after a pause each, in which the GPU cools and its clocks recover; null if not measured. */
  pausedTimeMs: result(orNull(positive), { title: "paused", width: 8, digits: "significant", gpuOnly: true, rank: 9 }),
  /** The time per call of many calls without a pause; null if it was not measured. */
  backToBackTimeMs: result(orNull(positive), {
    ...{ title: "back to back", width: 12, digits: "significant", gpuOnly: true, rank: 8 },
  }),
  /** The kernels of a call in the order of their launches; null unless they were measured one by one. */
  profile: result(orNull(list(profiledKernel))),
  /** The time per replay of a call that was captured, with many replays in a row; null if it was not measured. */
  replayTimeMs: result(orNull(positive), { title: "replay", width: 8, digits: "significant", gpuOnly: true, rank: 8 }),
  /** The median of the timed calls by the host's clock: the host queues the call, then the device runs it. */
  wallTimeMs: result(number),
  /** The median time that the host took to queue a timed call; null if the host computes. */
  hostTimeMs: result(orNull(number)),
  /** The time to draw the inputs on the host. */
  generateTimeMs: result(number),
  /** The time that the host spent on copying the inputs to the device; null if nothing is copied. */
  uploadTimeMs: result(orNull(number)),
  /** Useful operations, which are those of kept assignments, over `kernelTimeMs`, in 10^12 per second. */
  tflops: result(number, { title: "TFLOP/s", width: 8, digits: "significant", rank: 2 }),
  /** Bytes that must be read or written at least once over `kernelTimeMs`, in 10^9 per second. */
  gigabytesPerSecond: result(number, { title: "GB/s", width: 8, digits: "significant", rank: 4 }),
  /** The tokens of all GPUs. */
  tokensPerSecond: result(number, { title: "tokens/s", width: 9, digits: 0, rank: 3 }),
  /** The same over the number of GPUs; null on one device. */
  tokensPerSecondPerGpu: result(orNull(number), {
    title: "per GPU",
    width: 9,
    digits: 0,
    gpuOnly: true,
    onRequest: true,
  }),
  /** Bytes that a GPU receives from the others in a call if the rows are routed evenly; null on one device. */
  exchangeBytes: result(orNull(number)),
  /** Useful operations per byte. */
  intensity: result(number),
  /** The peaks of the device; null if they are unknown. */
  peakTflops: result(orNull(positive)),
  peakGigabytesPerSecond: result(orNull(positive)),
  /** Whether the peaks follow from the device's clocks or were measured on it. */
  peakSource: result(orNull(text)),
  /** The share of the peak that limits the job, in percent; null if the peak is unknown or cannot be right. */
  percentOfPeak: result(orNull(number), { title: "% peak", width: 6, digits: 1, rank: 3 }),
  /** Which peak limits the job. */
  boundBy: result(orNull(oneOf("compute", "memory")), { title: "bound by", width: 8, align: "left", rank: 7 }),
  /** The peak of live tensors during the timed calls: inputs, output and workspace. */
  peakMemoryBytes: result(count, { title: "MiB", width: 8, unit: "MiB", digits: 2, rank: 4 }),
  /** All assignments: tokens times top-k. */
  assignments: result(count),
  /** Assignments that were computed. */
  kept: result(count),
  /** Assignments that the capacity dropped. */
  dropped: result(count),
  /** `dropped` over `assignments`. */
  droppedFraction: result(number, { title: "dropped", width: 7, unit: "percent", rank: 9 }),
  /** Assignments of each expert, before the capacity. */
  tokensPerExpert: result(list(count)),
  /** The maximum of `tokensPerExpert` over its mean: 1 is perfect balance. */
  imbalance: result(number, { title: "max/mean", width: 8, digits: 2, rank: 10 }),
  outputSum: result(number, { title: "output sum", width: 11, digits: 4, rank: 11 }),
  outputAbsSum: result(number),
  outputMin: result(number),
  outputMax: result(number),
  /** The first three values of the output. */
  outputFirst: result(list(number)),
  /** ‖error‖ / ‖result‖ of the sampled rows against float64; null if the output was not checked. */
  verifyError: result(orNull(number)),
  /** The number of rows that were checked. */
  verifiedTokens: result(orNull(count)),
  /** What a reader should know before trusting the time. */
  hints: outcome(list(text)),

  /** The version of this package. */
  version: provenance(text),
  denoVersion: provenance(text, { mustAgree: true }),
  gitCommit: provenance(orNull(text)),
  gitDirty: provenance(orNull(flag)),
  driver: provenance(orNull(text), { mustAgree: true }),
  cubin: provenance(orNull(text)),
  cubinSha256: provenance(orNull(text)),
  deviceUuid: provenance(orNull(text)),
  multiprocessors: provenance(orNull(count)),
  clockMhz: provenance(orNull(number)),
  memoryClockMhz: provenance(orNull(number)),
  deviceMemoryBytes: provenance(orNull(count)),
  /** The name of the host; null without the permission to read it. */
  host: provenance(orNull(text)),
  os: provenance(text),
  arch: provenance(text),
  cpu: provenance(text, { mustAgree: true }),
  cores: provenance(count),
  memoryBytes: provenance(orNull(count)),
  commandLine: provenance(text),
  /** When the run ended, RFC 3339. */
  time: outcome(text),
} as const satisfies Required & Readonly<Record<string, Figure<unknown>>>;

type Figures = typeof figures;

/** The name of a figure. */
export type FigureKey = keyof Figures;

/** The names of the figures of one kind. */
type KeysOf<Of extends Kind> = { [Key in FigureKey]: Figures[Key]["kind"] extends Of ? Key : never }[FigureKey];

/** The value of a figure of a run that finished. */
type Value<Key extends FigureKey> = Figures[Key] extends Figure<infer Type> ? Type : never;

/** The figures of one or several kinds, of a run that finished. */
export type FiguresOf<Of extends Kind> = { readonly [Key in KeysOf<Of>]: Value<Key> };

/** What a benchmark run returns. */
export type BenchResult = FiguresOf<"job" | "place" | "result">;

/** A record: one configuration's figures and where they come from. A run that failed has null for its results. */
export type BenchRecord = {
  readonly [Key in FigureKey]: Key extends KeysOf<"result"> ? Value<Key> | null : Value<Key>;
};

/** The names of all figures, in their order. */
export const figureKeys = Object.keys(figures) as FigureKey[];

/** Returns the names of the figures of one kind, in their order. */
export function keysOf<Of extends Kind>(kind: Of): KeysOf<Of>[] {
  return figureKeys.filter((key) => figures[key].kind === kind) as KeysOf<Of>[];
}

/** The names of the figures that describe a job. Records that agree in them are of the same job. */
export const jobKeys: readonly KeysOf<"job">[] = keysOf("job");

/** The names of the figures that say where a job ran. */
export const placeKeys: readonly KeysOf<"place">[] = keysOf("place");

/** The names of the figures that make a configuration, in the order of their columns. */
export const configurationKeys: readonly KeysOf<"job" | "place">[] = figureKeys.filter(
  (key): key is KeysOf<"job" | "place"> => ["job", "place"].includes(figures[key].kind),
);

/** Returns how tables show a figure; undefined if they do not. */
export function columnOf(key: FigureKey): Column | undefined {
  return (figures[key] as Figure<unknown>).column;
}

function named(name: string): (value: unknown) => string {
  return (value) => value === null ? `no ${name}` : `${name} ${value}`;
}

function counted(noun: string): (value: unknown) => string {
  return (value) => plural(Number(value), noun);
}
