/**
 * Synthetic jobs: their sizes, and their inputs from a seed, number for number those of the reference script in PyTorch.
 *
 * @module
 */
import type { Backend, BackendTensor } from "./backend.ts";
import type { ExpertsInputs } from "./experts.ts";
import { keptAssignments, route, tokensPerExpert } from "./routing.ts";
import { elementCount, type Tensor, zeros } from "./tensor.ts";
import { Generator } from "./torch/generator.ts";
import type { Engine } from "./wasm/engine.ts";

/** A synthetic job. */
export interface Job {
  /** Name of the preset that the sizes began from. */
  readonly preset: string;
  /** Sequences. */
  readonly batch: number;
  /** Tokens a sequence. */
  readonly seq: number;
  /** H. */
  readonly hidden: number;
  /** I. */
  readonly intermediate: number;
  /** E. */
  readonly experts: number;
  /** K. */
  readonly topK: number;
  /** The most assignments an expert keeps; null keeps all. */
  readonly capacity: number | null;
  /** Seed of the one generator that all inputs come from. */
  readonly seed: number | bigint;
}

/** The sizes a preset names; the rest follow from them. */
export type PresetSizes = Pick<Job, "batch" | "seq" | "hidden" | "experts" | "topK">;

/** Jobs with a name. */
export const presets = {
  /** The job that every default follows. */
  reference: { batch: 128, seq: 2048, hidden: 2880, experts: 32, topK: 4 },
  small: { batch: 16, seq: 256, hidden: 2880, experts: 8, topK: 2 },
  tiny: { batch: 4, seq: 64, hidden: 256, experts: 8, topK: 2 },
} as const satisfies Record<string, PresetSizes>;

/** What a job has that its preset has not. */
export type JobChanges = { readonly [Key in Exclude<keyof Job, "preset">]?: Job[Key] | undefined };

/** Makes a job of a preset and what differs from it: intermediate defaults to hidden, capacity to seq. */
export function makeJob(preset: keyof typeof presets, changes: JobChanges = {}): Job {
  const given = Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined));
  const sizes: PresetSizes & Partial<Job> = { ...presets[preset], ...given };
  const { batch, seq, hidden, experts, topK, intermediate = hidden, capacity = seq, seed = 0 } = sizes;
  return { preset, batch, seq, hidden, intermediate, experts, topK, capacity, seed };
}

/** Bytes of each of a job's inputs, and of its output. */
export function tensorBytes({ batch, seq, hidden, intermediate, experts, topK }: Job): {
  readonly inputs: Readonly<Record<keyof ExpertsInputs, number>>;
  readonly output: number;
} {
  const tokens = batch * seq;
  return {
    inputs: {
      hiddenStates: 2 * tokens * hidden,
      routerIndices: 4 * tokens * topK,
      routingWeights: 2 * tokens * topK,
      gateUpProj: 2 * experts * hidden * 2 * intermediate,
      gateUpProjBias: 2 * experts * 2 * intermediate,
      downProj: 2 * experts * intermediate * hidden,
      downProjBias: 2 * experts * hidden,
    },
    output: 2 * tokens * hidden,
  };
}

/** Bytes that a job's tensors take on the CPU at most: inputs, output, and rows for as many assignments as may be kept. */
export function jobBytes(job: Job): number {
  const { batch, seq, hidden, intermediate, experts, topK, capacity } = job;
  const { inputs, output } = tensorBytes(job);
  const kept = Math.min(batch * seq * topK, experts * (capacity ?? Infinity));
  const activations = kept * intermediate <= batch * seq * hidden ? 0 : kept * intermediate; // else they lie in the output
  return Object.values(inputs).reduce((sum, bytes) => sum + bytes) + output + 2 * (kept * hidden + activations);
}

/** A job's inputs, on a backend. Disposing them gives their memory back. */
export interface Workload extends Disposable {
  /** The op's inputs. */
  readonly inputs: ExpertsInputs<BackendTensor>;
  /** Assignments of each expert, before the capacity. */
  readonly tokensPerExpert: Int32Array;
  /** Assignments that the capacity keeps. */
  readonly kept: number;
}

/**
 * Draws a job's inputs, in the reference script's order from one generator: logits, softmax and top-k over them, hidden
 * states × 0.1, gate-up and down weights × 0.02, all rounded to f16 before and after the scaling; biases are zero.
 *
 * @param job The sizes and the seed.
 * @param backend Where the inputs go.
 * @param engine The worker pool that draws them.
 * @param onProgress Called now and then with the fraction that is done.
 */
export async function drawInputs(
  job: Job,
  backend: Backend,
  engine: Engine,
  onProgress: (fraction: number) => void = () => {},
): Promise<Workload> {
  const { hidden, intermediate, experts, topK } = job;
  const tokens = job.batch * job.seq;
  const random = new Generator(job.seed);
  using scope = new DisposableStack();
  const upload = (host: Tensor) => scope.use(backend.upload(host));

  const normalShapes = [[tokens, hidden], [experts, hidden, 2 * intermediate], [experts, intermediate, hidden]];
  const total = normalShapes.map(elementCount).reduce((sum, count) => sum + count);
  let drawn = 0;
  const draw = async (shape: readonly number[], scale: number) => {
    const target = scope.use(backend.allocate("f16", shape));
    await backend.fill(target, async (piece) => {
      await random.fillNormal(engine, piece as Float16Array, {
        scale,
        onProgress: (done) => onProgress((drawn + done) / total),
      });
      drawn += piece.length;
    });
    return target;
  };

  const logits = zeros("f32", [tokens, experts]);
  await random.fillNormal(engine, logits.data as Float32Array);
  const { routerIndices, routerWeights } = route(logits, topK);
  const counts = tokensPerExpert(routerIndices, experts);
  const weights = zeros("f16", [tokens, topK]);
  weights.data.set(routerWeights.data);

  const inputs: ExpertsInputs<BackendTensor> = {
    routerIndices: upload(routerIndices),
    routingWeights: upload(weights),
    hiddenStates: await draw([tokens, hidden], 0.1),
    gateUpProj: await draw([experts, hidden, 2 * intermediate], 0.02),
    gateUpProjBias: upload(zeros("f16", [experts, 2 * intermediate])),
    downProj: await draw([experts, intermediate, hidden], 0.02),
    downProjBias: upload(zeros("f16", [experts, hidden])),
  };
  const owned = scope.move();
  return {
    inputs,
    tokensPerExpert: counts,
    kept: keptAssignments(counts, job.capacity ?? Infinity),
    [Symbol.dispose]: () => owned[Symbol.dispose](),
  };
}
