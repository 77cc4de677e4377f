// One rank of tests/gpu/ranks.ts.
import { type CudaBackend, openCudaBackend } from "../../src/cuda/backend.ts";
import type { ExpertsInputs } from "../../src/contract/experts.ts";
import { weightShapes } from "../../src/contract/experts_sizes.ts";
import { gpus } from "../../src/cuda/plan/gpus.ts";
import type { PresetName } from "../../src/models/presets.ts";
import { Nccl } from "../../src/nccl/library.ts";
import { exchangeBytes } from "../../src/parallel/exchange_bytes.ts";
import { predict } from "../../src/parallel/predict.ts";
import { RankBackend } from "../../src/parallel/backend.ts";
import { shareOf } from "../../src/parallel/exchange_plan.ts";
import { exchanges } from "./exchanges.ts";
import { RankGroup } from "../../src/parallel/rank_group.ts";
import type { BackendTensor } from "../../src/tensor/backend_tensor.ts";
import { type DType, type Tensor, tensor } from "../../src/tensor/tensor.ts";
import { joinWorld } from "../../src/world/world.ts";
import { Generator } from "../../src/torch/generator.ts";
import { toBfloat16 } from "../../src/tensor/bfloat16.ts";
import { type Job, jobOptions, makeJob } from "../../src/workload/workload.ts";
import { median } from "../../src/statistics.ts";

/** What to measure, and who this rank is. */
export interface RankTask {
  readonly rank: number;
  readonly ranks: number;
  readonly port: number;
  readonly nccl: string;
  readonly presets: readonly PresetName[];
  /** Tokens of each rank. */
  readonly tokens: readonly number[];
  /** Timed calls; a third of them for many tokens. */
  readonly calls: number;
  /** `"measure"`, or `"loop"` until a rank is killed. */
  readonly mode: string;
}

interface Connected extends Disposable {
  readonly group: RankGroup;
  readonly inner: CudaBackend;
  parallel(exchange: "assignments" | "tokens"): RankBackend;
}

async function connect({ rank, ranks, port, nccl: path }: RankTask): Promise<Connected> {
  using owned = new DisposableStack();
  const nccl = new Nccl(path);
  const inner = owned.use(await openCudaBackend({ device: rank }));
  const world = owned.use(
    await joinWorld({
      ...{
        placement: { rank, ranks, host: "127.0.0.1", port, secret: "gpu" },
        gpu: inner.properties.uuid,
        host: "here",
      },
      nccl: { version: nccl.version, path: nccl.path, createId: () => nccl.createId() },
      ...{ timeout: 60_000, exitWhenLost: true },
    }),
  );
  const start = performance.now();
  const group = owned.use(new RankGroup(inner, world, nccl));
  if (rank === 0) {
    print({ device: inner.device, ranks, nccl: nccl.version, connectMs: Math.round(performance.now() - start) });
  }
  const all = owned.move();
  return {
    group,
    inner,
    parallel: (exchange) => new RankBackend(group, exchange, new DisposableStack()),
    [Symbol.dispose]: () => all[Symbol.dispose](),
  };
}

function print(record: unknown): void {
  console.log(JSON.stringify(record));
}

/** Numbers to fill tensors with: one block of normals, repeated with an offset that depends on the position. */
const block = (() => {
  const { data } = new Generator(1).randn([1 << 20]);
  return Float32Array.from(data);
})();

/** Fills a tensor whose first element is the `from`-th of a larger one, so that every rank has its share of the same numbers. */
async function fill(backend: CudaBackend, dtype: DType, shape: readonly number[], from: number, scale: number) {
  const target = backend.allocate(dtype, shape);
  const scaled = block.map((x) => x * scale);
  const values = dtype === "bf16" ? bits(scaled) : Float16Array.from(scaled);
  await backend.fill(target, (piece, start) => {
    for (let i = 0; i < piece.length;) {
      const at = (from + start + i) % (values.length - 1); // not a power of two: the rows differ
      const part = values.subarray(at, Math.min(values.length - 1, at + piece.length - i));
      piece.set(part, i);
      i += part.length;
    }
  });
  return target;
}

function bits(values: Float32Array): Uint16Array {
  const out = new Uint16Array(values.length);
  toBfloat16(values, out);
  return out;
}

/** The weights of a range of a job's experts. */
async function layer(backend: CudaBackend, job: Job, { start, end }: { start: number; end: number }) {
  const shapes = weightShapes({ ...job, experts: end - start });
  const weight = (shape: number[], scale: number) =>
    fill(backend, job.dtype, shape, start * (shape[1] ?? 1) * (shape[2] ?? 1), scale);
  return { gateUpProj: await weight(shapes.gateUpProj, 0.02), downProj: await weight(shapes.downProj, 0.02) };
}

/** The hidden states and a uniform routing of a range of tokens. */
async function tokensOf(backend: CudaBackend, { topK, hidden, experts, dtype }: Job, start: number, count: number) {
  const hash = (i: number) => Math.imul(Math.imul(i ^ i >>> 15, 0x2c1b3c6d) ^ 0x5bd1e995, 0x297a2d39) >>> 8;
  const indices = new Int32Array(count * topK);
  for (let t = 0; t < count; t++) {
    const chosen = new Set<number>();
    for (let i = 0; chosen.size < topK; i++) chosen.add(hash((start + t) * 64 + i) % experts);
    indices.set([...chosen], t * topK);
  }
  const upload = (data: Tensor["data"], dtype: DType) =>
    backend.upload(tensor(data as Int32Array, [count, topK], dtype));
  return {
    hiddenStates: await fill(backend, dtype, [count, hidden], start * hidden, 1),
    routerIndices: upload(indices, "i32"),
    routingWeights: upload(new Float32Array(count * topK).map((_, i) => 0.1 + ((start * topK + i) % 7) / 10), "f32"),
  };
}

type Inputs = ExpertsInputs<BackendTensor>;

function dispose(inputs: object): void {
  for (const value of Object.values(inputs)) (value as BackendTensor)[Symbol.dispose]();
}

/** Times of a call in milliseconds. */
interface Times {
  /** The median of single calls that start together. */
  readonly singleMs: number;
  /** The time of a call in a row of calls. */
  readonly rowMs: number;
  /** The time of a replay in a row of replays. */
  readonly replayMs?: number;
}

/** Measures a call on all ranks. */
async function times(
  backend: RankBackend,
  run: () => Promise<BackendTensor>,
  count: number,
  capturable: boolean,
): Promise<Times> {
  const once = async () => (await run())[Symbol.dispose]();
  const inRow = async (once: () => Promise<void>) => {
    const { milliseconds } = await backend.measure(async () => {
      for (let i = 0; i < count; i++) await once();
    });
    return milliseconds / count;
  };
  for (let i = 0; i < 4; i++) await once();
  const single: number[] = [];
  for (let i = 0; i < count; i++) single.push((await backend.measure(once)).milliseconds);
  const measured = { singleMs: median(single), rowMs: await inRow(once) };
  if (!capturable) return measured;
  using captured = await backend.capture(run);
  const replayMs = await inRow(() => captured.replay());
  captured.result[Symbol.dispose]();
  return { ...measured, replayMs };
}

function digest(data: Tensor["data"]): string {
  const bytes = new Uint32Array(data.buffer, data.byteOffset, data.byteLength >> 2);
  let a = 1, b = 0;
  for (const word of bytes) {
    a = Math.imul(a ^ word, 0x01000193);
    b = b + word | 0;
  }
  return `${(a >>> 0).toString(16)}-${(b >>> 0).toString(16)}`;
}

/** Runs one rank. */
export async function runRank(task: RankTask): Promise<void> {
  using connected = await connect(task);
  const { inner } = connected;
  for (const name of task.presets) {
    const whole = makeJob(name, { batch: 1, seq: 1, dtype: "bf16" });
    const own = await layer(inner, whole, shareOf(whole.experts, task.ranks, task.rank));
    const all = task.mode === "loop" ? own : await layer(inner, whole, { start: 0, end: whole.experts });
    for (const seq of task.mode === "loop" ? [1024] : task.tokens) {
      await runJob(task, connected, makeJob(name, { batch: 1, seq, dtype: "bf16" }), { own, all });
    }
    for (const weights of new Set([own, all])) dispose(weights);
  }
}

type Weights = Awaited<ReturnType<typeof layer>>;

async function runJob(
  task: RankTask,
  connected: Connected,
  job: Job,
  weights: { readonly own: Weights; readonly all: Weights },
): Promise<void> {
  const { rank, ranks } = task;
  const { group, inner } = connected;
  const tokens = job.seq;
  const { activation, gated, gateUpLayout, weightLayout } = jobOptions(job);
  const options = { activation, gated, gateUpLayout, weightLayout };
  const count = tokens > 4000 ? Math.ceil(task.calls / 3) : task.calls;
  const own = await tokensOf(inner, job, rank * tokens, tokens);
  const inputs: Inputs = { ...own, ...weights.own };
  const call = { ...options, totalExperts: job.experts, tokensPerRank: Array<number>(ranks).fill(tokens) };
  if (task.mode === "loop") return await runForever(rank, connected, inputs, call);

  inner.resetPeakMemory();
  const results: Record<string, Times> = {};
  const parts: Record<string, unknown> = {};
  const hashes: Record<string, string> = {};
  for (const exchange of ["assignments", "tokens"] as const) {
    const parallel = connected.parallel(exchange);
    const run = () => parallel.experts(inputs, call);
    {
      using output = await run();
      hashes[exchange] = digest((await parallel.download(output)).data);
    }
    results[exchange] = await times(parallel, run, count, exchange === "tokens");
    if (exchange === "assignments") parts.exchanges = await exchanges(group, parallel, run);
    else {
      const profile = await inner.profile(run);
      parts.profile = profile.map(({ kernel, milliseconds }) => `${kernel} ${(1000 * milliseconds).toFixed(1)}`);
    }
  }
  const peakGiB = inner.memory.peakBytes / 2 ** 30;
  const collected = await group.world.allGather({ hashes });

  // One GPU with the tokens of all ranks, and with those of one. Each rank computes it, so that the GPUs are equally warm.
  const barrier = connected.parallel("assignments");
  const alone = await times(barrier, () => inner.experts({ ...own, ...weights.all }, options), count, true);
  const tokensOfAll = await tokensOf(inner, job, 0, ranks * tokens);
  const runOne = () => inner.experts({ ...tokensOfAll, ...weights.all }, options);
  let expected: string[];
  {
    using output = await runOne();
    const { data } = await inner.download(output);
    const part = data.length / ranks;
    expected = Array.from({ length: ranks }, (_, r) => digest(data.slice(r * part, (r + 1) * part)));
  }
  const one = await times(barrier, runOne, count, true);
  dispose(own);
  dispose(tokensOfAll);
  if (rank !== 0) return;
  const sameBits = Object.fromEntries(
    Object.keys(hashes).map((key) => [key, collected.every((other, r) => other.hashes[key] === expected[r])]),
  );
  print({ preset: job.preset, gpus: ranks, tokensPerGpu: tokens, sameBits, one, alone, ...results, ...parts, peakGiB });
  print(summary(job, inner.device, ranks, { one, alone, results }));
}

/** Compares the faster exchange with one GPU and with the prediction. */
function summary(
  job: Job,
  device: string,
  ranks: number,
  { one, alone, results }: { one: Times; alone: Times; results: Readonly<Record<string, Times>> },
) {
  const gpu = Object.values(gpus).find(({ name }) => name.startsWith(device)) ?? gpus.h200;
  const predicted = gpu && predict(job, gpu, ranks);
  const exchange = (results.assignments?.singleMs ?? 0) < (results.tokens?.singleMs ?? 0) ? "assignments" : "tokens";
  const best = results[exchange] ?? one;
  const sizes = { tokens: job.seq, hidden: job.hidden, topK: job.topK, element: 2 };
  const { toExperts, back } = exchangeBytes(sizes, ranks, exchange);
  const gain = Object.entries(results).map(([name, { singleMs, rowMs, replayMs }]) =>
    `${name} ${(one.singleMs / singleMs).toFixed(2)} ${(one.rowMs / rowMs).toFixed(2)} ${
      replayMs === undefined ? "" : ((one.replayMs ?? 0) / replayMs).toFixed(2)
    }`.trim()
  );
  return {
    ...{ summary: `${job.preset}, ${job.seq} tokens on each of ${ranks} GPUs`, exchange, ms: best.singleMs },
    ...{ predictedMs: predicted?.totalMs, overPrediction: best.singleMs / (predicted?.totalMs ?? NaN) },
    ...{ efficiency: alone.singleMs / best.singleMs, predictedEfficiency: predicted?.efficiency },
    ...{ gainOfSingleRowReplay: gain, predictedGain: predicted?.gain, receivedMB: (toExperts + back) / 1e6 },
  };
}

async function runForever(
  rank: number,
  connected: Connected,
  inputs: Inputs,
  call: Parameters<RankBackend["experts"]>[1],
): Promise<void> {
  const parallel = connected.parallel("assignments");
  for (let i = 0;; i++) {
    (await parallel.experts(inputs, call))[Symbol.dispose]();
    parallel.synchronize();
    if (i === 5 && rank === 0) print("looping");
    if (i % 20 === 0) await new Promise((resolve) => setTimeout(resolve));
  }
}
