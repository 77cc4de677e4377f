// Times a job's kernels, one by one and together.
import type { BackendTensor, KernelTime } from "../../src/backend/backend.ts";
import type { CudaBackend } from "../../src/cuda/backend.ts";
import { gateUpColumns, weightShapes } from "../../src/contract/experts_sizes.ts";
import { route } from "../../src/routing/route.ts";
import { convert, type DType, type Tensor, tensor } from "../../src/tensor/tensor.ts";
import { Generator } from "../../src/torch/generator.ts";
import { type Job, jobOptions } from "../../src/workload/workload.ts";

/** The work of one kernel and its median time. */
export interface KernelFigures {
  readonly kernel: string;
  readonly milliseconds: number;
  readonly flops: number;
  readonly bytes: number;
}

/** The times of a job: of each kernel, between two events, and of the whole call. */
export interface JobFigures {
  readonly preset: string;
  readonly tokens: number;
  readonly kernels: readonly KernelFigures[];
  /** Of isolated calls. */
  readonly milliseconds: number;
  /** Of replays without a pause. */
  readonly replayMilliseconds: number;
}

const runs = 12, warmup = 3;

/** The calls that are replayed in turn. A few tokens choose a few experts, which would stay in L2 from call to call. */
const callsInTurn = (tokens: number) => tokens < 2048 ? 8 : 1;

/** Measures a job's layer for several numbers of tokens. */
export async function* measureJobs(
  backend: CudaBackend,
  job: Job,
  tokenCounts: readonly number[],
): AsyncGenerator<JobFigures> {
  const { hidden, experts, topK, dtype, biases, router } = job;
  using scope = new DisposableStack();
  const random = new Generator(0);
  const normal = normalTensors(backend, dtype, random);
  const { gateUpProj, downProj } = weightShapes(job);
  const bias = (shape: number[]) => biases === "none" ? undefined : normal(scope, shape, 0.02);
  const weights = {
    gateUpProj: await normal(scope, gateUpProj, 0.02),
    gateUpProjBias: await bias([experts, gateUpColumns(job)]),
    downProj: await normal(scope, downProj, 0.02),
    downProjBias: await bias([experts, hidden]),
  };
  for (const tokens of tokenCounts) {
    using batch = new DisposableStack();
    const upload = (host: Tensor) => batch.use(backend.upload(host));
    const correctionBias = router.correctionBias ? small(random.randn([experts])) : undefined;
    const hiddenStates = await normal(batch, [tokens, hidden], 0.1);
    const calls = Array.from({ length: callsInTurn(tokens) }, () => {
      const options = { ...router, topK, correctionBias };
      const { routerIndices, routerWeights } = route(random.randn([tokens, experts]), options);
      const routing = { routerIndices: upload(routerIndices), routingWeights: upload(convert(routerWeights, dtype)) };
      return [{ ...weights, hiddenStates, ...routing }, jobOptions(job)] as const;
    });
    const replayMilliseconds = await measureReplays(backend, calls);
    yield { preset: job.preset, tokens, replayMilliseconds, ...await measureCall(backend, ...calls[0]!) };
  }
}

/**
 * Returns a function that makes tensors of normal numbers. They are one block, repeated: the kernels take the same time as with
 * fresh numbers, and generating those would take longer than everything else.
 */
export function normalTensors(backend: CudaBackend, dtype: DType, random: Generator) {
  const normals = random.randn([2 ** 20 + 16]).data as Float32Array;
  return async (owner: DisposableStack, shape: readonly number[], scale: number): Promise<BackendTensor> => {
    const block = convert(tensor(normals.map((value) => value * scale), [normals.length]), dtype).data;
    const target = owner.use(backend.allocate(dtype, shape));
    await backend.fill(target, (piece) => {
      for (let i = 0; i < piece.length; i += block.length) piece.set(block.subarray(0, piece.length - i), i);
    });
    return target;
  };
}

type Call = Readonly<Parameters<CudaBackend["experts"]>>;

/** Captures calls as one sequence, and returns the time per call: the median of series of replays that take 20 ms or more. */
async function measureReplays(backend: CudaBackend, calls: readonly Call[]): Promise<number> {
  using captured = await backend.capture(async () => {
    const outputs = [];
    for (const call of calls) outputs.push(await backend.experts(...call));
    return outputs;
  });
  const series = async (count: number) => {
    const { milliseconds } = await backend.measure(async () => {
      for (let i = 0; i < count; i++) await captured.replay();
    });
    return milliseconds / count / calls.length;
  };
  const count = Math.ceil(20 / (await series(2) * calls.length));
  const times: number[] = [];
  for (let i = 0; i < warmup + runs; i++) times.push(await series(count));
  return median(times.slice(warmup));
}

async function measureCall(
  backend: CudaBackend,
  ...call: Call
): Promise<Pick<JobFigures, "kernels" | "milliseconds">> {
  const passes: KernelTime[][] = [];
  for (let i = 0; i < warmup + runs; i++) passes.push(await backend.profile(() => backend.experts(...call)));
  passes.splice(0, warmup);
  const kernels = passes[0]!.map(({ kernel, flops, bytes }, i) => ({
    ...{ kernel, flops: flops ?? 0, bytes: bytes ?? 0 },
    milliseconds: median(passes.map((pass) => pass[i]!.milliseconds)),
  }));
  const times: number[] = [];
  for (let i = 0; i < warmup + runs; i++) {
    const { result, milliseconds } = await backend.measure(() => backend.experts(...call));
    result[Symbol.dispose]();
    if (i >= warmup) times.push(milliseconds);
  }
  return { kernels, milliseconds: median(times) };
}

/** Scales a correction bias as jobs do. A bias as large as the logits would send all tokens to the same few experts. */
function small({ data, shape }: Tensor): Tensor {
  return tensor((data as Float32Array).map((value) => 0.02 * value), shape);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}
