// Times of a job's kernels, one by one and together. Weights are a block of normal numbers over and over: the arithmetic
// costs what it costs with fresh ones, and drawing those would take longer than all else.
import type { CudaBackend } from "../../src/cuda/backend.ts";
import { route } from "../../src/routing.ts";
import { type Tensor, zeros } from "../../src/tensor.ts";
import { Generator } from "../../src/torch/generator.ts";
import type { Job } from "../../src/workload.ts";

/** What one kernel does, and its median time. */
export interface KernelFigures {
  readonly kernel: string;
  readonly milliseconds: number;
  readonly flops: number;
  readonly bytes: number;
}

/** A job's times: each kernel between two events, and the whole call. */
export interface JobFigures {
  readonly preset: string;
  readonly tokens: number;
  readonly kernels: readonly KernelFigures[];
  readonly milliseconds: number;
}

const runs = 12, warmup = 3;

/** Measures one preset's weights with several numbers of tokens. */
export async function* measureJobs(
  backend: CudaBackend,
  job: Job,
  tokenCounts: readonly number[],
): AsyncGenerator<JobFigures> {
  const { hidden, intermediate, experts, topK } = job;
  using scope = new DisposableStack();
  const random = new Generator(0);
  const normals = Float16Array.from(random.randn([2 ** 20 + 16]).data);
  const normal = async (owner: DisposableStack, shape: number[], scale: number) => {
    const scaled = normals.map((value) => value * scale);
    const tensor = owner.use(backend.allocate("f16", shape));
    await backend.fill(tensor, (piece) => repeat(scaled, piece as Float16Array));
    return tensor;
  };
  const weights = {
    gateUpProj: await normal(scope, [experts, hidden, 2 * intermediate], 0.02),
    gateUpProjBias: scope.use(backend.upload(zeros("f16", [experts, 2 * intermediate]))),
    downProj: await normal(scope, [experts, intermediate, hidden], 0.02),
    downProjBias: scope.use(backend.upload(zeros("f16", [experts, hidden]))),
  };
  for (const tokens of tokenCounts) {
    using batch = new DisposableStack();
    const upload = (tensor: Tensor) => batch.use(backend.upload(tensor));
    const { routerIndices, routerWeights } = route(random.randn([tokens, experts]), topK);
    const routingWeights = zeros("f16", [tokens, topK]);
    routingWeights.data.set(routerWeights.data);
    const inputs = {
      ...weights,
      hiddenStates: await normal(batch, [tokens, hidden], 0.1),
      routerIndices: upload(routerIndices),
      routingWeights: upload(routingWeights),
    };
    yield {
      preset: job.preset,
      tokens,
      ...await measureCall(backend, inputs, { expertCapacity: job.capacity ?? undefined }),
    };
  }
}

/** Measures a call. */
export async function measureCall(
  backend: CudaBackend,
  ...call: Parameters<CudaBackend["experts"]>
): Promise<Pick<JobFigures, "kernels" | "milliseconds">> {
  const passes = Array.from({ length: warmup + runs }, () => backend.profile(...call)).slice(warmup);
  const kernels = passes[0]!.map(({ launch: { kernel, flops, bytes } }, i) => ({
    ...{ kernel, flops, bytes },
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

function repeat(block: Float16Array, target: Float16Array): void {
  for (let start = 0; start < target.length; start += block.length) {
    target.set(block.subarray(0, target.length - start), start);
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}
