/**
 * Synthetic jobs: their sizes, and their inputs from a seed. The inputs equal those of the reference script in PyTorch.
 *
 * @module
 */
import type { Backend, BackendTensor } from "../backend/backend.ts";
import type { DenseInputs, ExpertsInputs, ExpertsOptions } from "../contract/experts.ts";
import { activationOptions } from "../contract/activations.ts";
import { gateUpColumns, weightShapes } from "../contract/experts_sizes.ts";
import { weightBytes } from "../contract/weights.ts";
import type { LayerPreset, Preset } from "../models/preset.ts";
import { type PresetName, presets } from "../models/presets.ts";
import { keptAssignments, tokensPerExpert } from "../routing/assignments.ts";
import { route } from "../routing/route.ts";
import { routerRules } from "../routing/router.ts";
import { decode } from "../tensor/decode.ts";
import { bytesPerElement, convert, elementCount, type Tensor, type TensorData, zeros } from "../tensor/tensor.ts";
import { Generator } from "../torch/generator.ts";
import type { WorkerPool } from "../wasm/worker_pool.ts";
import { areDrawn, drawPacked, jobFormats } from "./drawn_weights.ts";
import { drawLogits } from "./logits.ts";
import type { WeightReader } from "./weight_reader.ts";

/** A synthetic job: a layer and its tokens. */
export interface Job extends LayerPreset {
  /** The name of the preset whose layer this is, or "custom". */
  readonly preset: string;
  /** The number of sequences. */
  readonly batch: number;
  /** The number of tokens per sequence. */
  readonly seq: number;
  /** I. */
  readonly intermediate: number;
  /** The most assignments that an expert keeps; null for a dropless layer. */
  readonly capacity: number | null;
  /** The seed of the generator of all inputs. */
  readonly seed: number | bigint;
  /** The model that the layer is from, or "custom". */
  readonly model: string;
  /** What is timed: the experts, or the whole layer with its router and its shared expert. */
  readonly op: "experts" | "moe";
  /** The format of drawn weights, "dense" or packed, or the path of a checkpoint. */
  readonly weights: string;
  /** The number of the checkpoint's layer; null if the weights are drawn, or the names have no number. */
  readonly layer: number | null;
  /** The file of the hidden states; null if they are drawn. */
  readonly hiddenFile: string | null;
  /**
   * How unevenly the router chooses: the exponent of Zipf's law, by which expert i has the popularity (i + 1)^-skew, or 0 for
   * the router's own logits. With "worst", all tokens choose the same K experts.
   */
  readonly skew: number | "worst";
  /** The number of ranks that share the experts. The job computes the share of the first one, and all tokens reach it. */
  readonly ep: number;
}

/** The differences between a job and its preset. */
export type JobChanges = { readonly [Key in Exclude<keyof Job, "preset">]?: Job[Key] | undefined };

/**
 * Makes a job from a preset and changes. If neither gives them, `intermediate` is `hidden`, and `capacity` is `seq`, or none for a
 * dropless preset.
 */
export function makeJob(name: PresetName, changes: JobChanges = {}): Job {
  return makeJobOf(name, presets[name], changes);
}

/** Makes a job from a layer that need not be a preset, and changes. */
export function makeJobOf(name: string, preset: Preset, changes: JobChanges = {}): Job {
  const given = Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined));
  const { model, source: _source, note: _note, dropless, ...layer } = preset;
  const sizes: Omit<typeof layer, "intermediate"> & Partial<Job> = { ...drawnJob, ...layer, ...given };
  const { intermediate = sizes.hidden, capacity = dropless ? null : sizes.seq } = sizes;
  const own: Readonly<Record<string, unknown>> = { intermediate: layer.hidden, ...layer };
  const isOwnLayer = Object.entries({ ...given, intermediate }).every(([key, value]) =>
    callKeys.has(key) || value === own[key]
  );
  const names = isOwnLayer ? { preset: name, model: model.replace(/,.*/, "") } : { preset: "custom", model: "custom" };
  const job: Job = { ...drawnJob, ...sizes, ...names, intermediate, capacity };
  return areDrawn(job.weights) && job.weights !== "dense" ? { ...job, weightLayout: "out-in" } : job;
}

/** What a job is unless something else is asked for. */
const drawnJob = { seed: 0, op: "experts", weights: "dense", layer: null, hiddenFile: null, skew: 0, ep: 1 } as const;

/** The members of a job that do not belong to its layer. */
const callKeys: ReadonlySet<string> = new Set(["batch", "seq", "capacity", "dtype", ...Object.keys(drawnJob)]);

/** Returns the sizes of the weights: those of the experts that this rank has. */
export function ownExperts<Sizes extends Pick<Job, "experts" | "ep">>(job: Sizes): Sizes {
  return { ...job, experts: job.experts / job.ep };
}

/** Returns the options of `experts` for a job. */
export function jobOptions(job: Job): ExpertsOptions {
  const { activation, gated, gateUpLayout, weightLayout, batchInvariant } = job;
  const expertCapacity = job.capacity ?? undefined;
  return { activation, ...activationOptions(job), gated, gateUpLayout, weightLayout, batchInvariant, expertCapacity };
}

/** Returns whether a job's router weighs the experts' inputs. */
export function weighsInputs({ router }: Pick<Job, "router">): boolean {
  return routerRules[router.kind].onInput;
}

/** Computes the bytes of each input and of the output. */
export function tensorBytes(job: Job): {
  readonly inputs: Readonly<Record<Exclude<keyof DenseInputs, "addend" | "addendWeights">, number>>;
  readonly output: number;
} {
  const { batch, seq, hidden, topK, dtype, biases } = job;
  const tokens = batch * seq;
  const element = bytesPerElement(dtype);
  const { experts } = ownExperts(job);
  const formats = jobFormats(job), packedShapes = weightShapes({ ...ownExperts(job), weightLayout: "out-in" });
  return {
    inputs: {
      hiddenStates: element * tokens * hidden,
      routerIndices: 4 * tokens * topK,
      routingWeights: element * tokens * topK,
      inputWeights: weighsInputs(job) ? 4 * tokens * topK : 0,
      gateUpProj: weightBytes(formats.gateUpProj, packedShapes.gateUpProj),
      gateUpProjBias: biases === "none" ? 0 : element * experts * gateUpColumns(job),
      downProj: weightBytes(formats.downProj, packedShapes.downProj),
      downProjBias: biases === "none" ? 0 : element * experts * hidden,
    },
    output: element * tokens * hidden,
  };
}

/** Computes the most bytes of a job's tensors on the CPU: inputs, output, and rows for all assignments that can be kept. */
export function jobBytes(job: Job): number {
  const { batch, seq, hidden, intermediate, experts, topK, capacity, dtype } = job;
  const { inputs, output } = tensorBytes(job);
  const kept = Math.min(batch * seq * topK, experts * (capacity ?? Infinity));
  const activations = kept * intermediate <= batch * seq * hidden ? 0 : kept * intermediate; // otherwise they use the memory of the output
  const rows = bytesPerElement(dtype) * (kept * hidden + activations);
  return Object.values(inputs).reduce((sum, bytes) => sum + bytes) + output + rows + layerBytes(job);
}

/** Computes the bytes of what a whole layer has besides the experts: its router, and the shared expert with its rows. */
function layerBytes(job: Job): number {
  const { op, batch, seq, hidden, experts, sharedIntermediate, dtype } = job;
  if (op === "experts") return 0;
  const columns = gateUpColumns({ ...job, intermediate: sharedIntermediate }) + sharedIntermediate;
  const shared = sharedIntermediate > 0 ? hidden * columns + batch * seq * (hidden + columns) : 0;
  return bytesPerElement(dtype) * (experts * hidden + shared);
}

/** Computes the bytes that a job needs on the CPU: its tensors, and the logits of the router. */
export function requiredBytes(job: Job): number {
  return jobBytes(job) + 4 * job.batch * job.seq * job.experts;
}

/** The inputs of a job, on a backend. Dispose it to free their memory. */
export interface Workload extends Disposable {
  /** The inputs of `experts`. */
  readonly inputs: ExpertsInputs<BackendTensor>;
  /** Reads a weight of one expert, drawn again. */
  readonly readWeight: WeightReader;
  /** The assignments of each expert, without the capacity. */
  readonly tokensPerExpert: Int32Array;
  /** The number of assignments that the capacity keeps. */
  readonly kept: number;
}

/**
 * Draws the inputs of a job from one generator, in the order of the reference script: the logits of the router; its
 * correction bias × 0.02, if it has one; the hidden states × 0.1; the gate-up and down weights × 0.02, each in its layout; the
 * gate-up and down biases × 0.02, if they are random. The correction bias and the weights of the experts' inputs are f32.
 * Hidden states and parameters are rounded to the job's dtype before and after the scaling, and the routing weights at the
 * end. Packed weights have a generator of their own.
 *
 * @param job The sizes and the seed.
 * @param backend The backend of the inputs.
 * @param pool The worker pool that draws them.
 * @param onProgress Called from time to time with the fraction that is done.
 * @param ownCount The number of experts whose weights are drawn.
 */
export async function drawInputs(
  job: Job,
  backend: Backend,
  pool: WorkerPool,
  onProgress: (fraction: number) => void = () => {},
  ownCount: number = ownExperts(job).experts,
): Promise<Workload> {
  const { hidden, experts, topK, dtype, biases, router } = job;
  const own = { ...job, experts: ownCount };
  const tokens = job.batch * job.seq;
  const random = new Generator(job.seed);
  using scope = new DisposableStack();
  const upload = (host: Tensor) => scope.use(backend.upload(host));

  const hiddenShape = [tokens, hidden];
  const { gateUpProj, downProj } = weightShapes(own);
  const total = [hiddenShape, gateUpProj, downProj].map(elementCount).reduce((sum, count) => sum + count);
  let drawn = 0;
  const draw = async (shape: readonly number[], scale: number) => {
    const target = scope.use(backend.allocate(dtype, shape));
    await backend.fill(target, async (piece) => {
      await random.fillNormal(pool, piece as Exclude<TensorData, Int32Array | Uint8Array>, {
        scale,
        onProgress: (done) => onProgress((drawn + done) / total),
      });
      drawn += piece.length;
    });
    return target;
  };

  const logits = await drawLogits(job, random, pool);
  let correctionBias: Tensor | undefined;
  if (router.correctionBias) {
    correctionBias = zeros("f32", [experts]);
    await random.fillNormal(pool, correctionBias.data as Float32Array, { scale: 0.02 });
  }
  const { routerIndices, routerWeights, inputWeights } = route(logits, { ...router, topK, correctionBias });
  const counts = tokensPerExpert(routerIndices, experts).slice(0, own.experts);
  const bias = async (shape: number[]) => {
    if (biases === "none") return undefined;
    return biases === "zero" ? upload(zeros(dtype, shape)) : await draw(shape, 0.02);
  };

  const formats = jobFormats(job), shapes = { gateUpProj, downProj };
  const seeds = { gateUpProj: 2n * BigInt(job.seed), downProj: 2n * BigInt(job.seed) + 1n };
  const weight = async (name: "gateUpProj" | "downProj") => {
    const format = formats[name], shape = shapes[name], count = elementCount(shape);
    if (format.kind === "dense") return await draw(shape, 0.02);
    const onDrawn = (done: number) => onProgress((drawn + done * count) / total);
    const host = await drawPacked(format, shape, seeds[name], 0, onDrawn);
    drawn += count;
    return scope.use(backend.upload(host));
  };
  const readWeight: WeightReader = async (name, expert) => {
    const format = formats[name], shape = shapes[name];
    if (format.kind === "dense") throw new TypeError(`${name} is dense: read it from the backend`);
    return decode(await drawPacked(format, [1, ...shape.slice(1)], seeds[name], expert), dtype);
  };

  const inputs: ExpertsInputs<BackendTensor> = {
    routerIndices: upload(routerIndices),
    routingWeights: upload(convert(routerWeights, dtype)),
    inputWeights: inputWeights && upload(inputWeights),
    hiddenStates: await draw(hiddenShape, 0.1),
    gateUpProj: await weight("gateUpProj"),
    downProj: await weight("downProj"),
    gateUpProjBias: await bias([own.experts, gateUpColumns(job)]),
    downProjBias: await bias([own.experts, hidden]),
  };
  const owned = scope.move();
  return {
    inputs,
    readWeight,
    tokensPerExpert: counts,
    kept: keptAssignments(counts, job.capacity ?? Infinity),
    [Symbol.dispose]: () => owned[Symbol.dispose](),
  };
}
