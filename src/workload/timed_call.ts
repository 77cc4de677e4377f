// What a benchmark times: one call on the tensors of a backend.
import type { Backend, BackendTensor } from "../backend/backend.ts";
import { normalize } from "../backend/host_steps.ts";
import { routeLayer } from "../backend/run_moe.ts";
import type { ExpertsInputs, ExpertsOptions } from "../contract/experts.ts";
import { expertsBytes, expertsFlops } from "../contract/experts_sizes.ts";
import type { MoeLayer } from "../contract/moe.ts";
import { type ResolvedExperts, resolveExperts } from "../contract/resolve_experts.ts";
import { layerWeights, resolveMoe } from "../contract/resolve_moe.ts";
import { CheckpointLayer } from "../models/checkpoint/checkpoint_layer.ts";
import { backendTarget } from "../models/checkpoint/layer_target.ts";
import { keptAssignments, tokensPerExpert } from "../routing/assignments.ts";
import { expertsOfTokens } from "../routing/token_table.ts";
import { SafetensorsError } from "../safetensors/error.ts";
import { bytesPerElement, convert, elementCount, type Tensor } from "../tensor/tensor.ts";
import { Generator } from "../torch/generator.ts";
import type { PackedFormat } from "../tensor/packed_tensor.ts";
import type { WorkerPool } from "../wasm/worker_pool.ts";
import { readHidden, readTokenIds } from "./hidden_file.ts";
import { areDrawn } from "./drawn_weights.ts";
import type { WeightReader } from "./weight_reader.ts";
import { drawInputs, type Job, jobOptions } from "./workload.ts";

/** A layer on a backend. */
type Layer = MoeLayer<BackendTensor>;

/** The elements of a float tensor. */
type Normals = Parameters<Generator["fillNormal"]>[1];

/** A layer, and what reads its packed weights. */
interface ReadableLayer {
  readonly layer: Layer;
  readonly readWeight: WeightReader | undefined;
  /** The token ids of a layer that chooses experts by them. */
  readonly tokenIds?: Int32Array | undefined;
}

/** Reports the fraction of a job that is done. */
type Progress = (fraction: number) => void;

/** A call whose tensors are on a backend. Dispose it to free their memory. */
export interface TimedCall extends Disposable {
  /** Makes the call. */
  run(onProgress?: Progress): Promise<BackendTensor>;
  /** The call of the routed experts. Of a whole layer, it has the backend's routing and its shared expert's rows. */
  readonly experts: { readonly inputs: ExpertsInputs<BackendTensor>; readonly options: ExpertsOptions };
  /** Reads a packed weight of one routed expert to the host, decoded. */
  readonly readWeight: WeightReader | undefined;
  readonly shape: ResolvedExperts;
  /** The assignments of each expert, without the capacity. */
  readonly tokensPerExpert: Int32Array;
  /** The number of assignments that the capacity keeps. */
  readonly kept: number;
  /** The operations of one call, without those of dropped assignments. */
  readonly flops: number;
  /** The bytes that one call must read or write at least once. */
  readonly bytes: number;
  /**
   * The GPUs that share the call, how rows travel between them, and the bytes that a GPU receives from the others if they are routed
   * evenly; undefined for a call on one device.
   */
  readonly over?: { readonly ranks: number; readonly exchange: string; readonly bytes: number };
}

/** Draws or reads the tensors of a job's call. */
export async function prepareCall(
  job: Job,
  backend: Backend,
  pool: WorkerPool,
  onProgress: Progress = () => {},
): Promise<TimedCall> {
  using scope = new DisposableStack();
  const options = jobOptions(job);
  const isDrawn = areDrawn(job.weights);
  if (job.op === "experts" && isDrawn && job.hiddenFile === null) {
    const { inputs, readWeight, tokensPerExpert: counts } = scope.use(await drawInputs(job, backend, pool, onProgress));
    return expertsCall(backend, { inputs, options }, counts, readWeight, scope.move());
  }
  const { layer, readWeight, tokenIds } = isDrawn
    ? await drawLayer(job, backend, pool, scope, onProgress)
    : await readLayer(job, backend, scope, onProgress);
  const hidden = scope.use(await hiddenStates(job, backend, pool));
  const { inputs, counts } = await routed(backend, hidden, layer, tokenIds, scope);
  if (job.op === "experts") {
    const experts = { inputs: { ...inputs, ...layerWeights(layer) }, options };
    return expertsCall(backend, experts, counts, readWeight, scope.move());
  }
  const sharedRows = await runShared(backend, hidden, layer, scope);
  const experts = { inputs: { ...inputs, ...sharedRows }, options };
  return moeCall(backend, hidden, { layer, readWeight }, experts, counts, scope.move());
}

function expertsCall(
  backend: Backend,
  experts: TimedCall["experts"],
  counts: Int32Array,
  readWeight: WeightReader | undefined,
  owned: DisposableStack,
): TimedCall {
  const { inputs, options } = experts;
  const shape = resolveExperts(inputs, options);
  const kept = keptAssignments(counts, shape.capacity);
  return {
    run: (onProgress) => backend.experts(inputs, { ...options, onProgress }),
    experts,
    readWeight,
    shape,
    tokensPerExpert: counts,
    kept,
    flops: expertsFlops(shape, kept),
    bytes: expertsBytes(shape, counts),
    [Symbol.dispose]: () => owned.dispose(),
  };
}

function moeCall(
  backend: Backend,
  hidden: BackendTensor,
  { layer, readWeight }: ReadableLayer,
  experts: TimedCall["experts"],
  counts: Int32Array,
  owned: DisposableStack,
): TimedCall {
  const { expertCapacity = Infinity, batchInvariant } = experts.options; // the job decides, not the layer
  const { routed, shared } = resolveMoe(hidden, layer, { expertCapacity, batchInvariant });
  const kept = keptAssignments(counts, routed.capacity);
  const { tokens } = routed;
  const { weight } = layer.router;
  const gate = layer.sharedExpert?.gate;
  const linear = [weight, ...gate ? [gate] : []];
  return {
    run: (onProgress) => backend.moe(hidden, layer, { expertCapacity, batchInvariant, onProgress }),
    experts,
    readWeight,
    shape: routed,
    tokensPerExpert: counts,
    kept,
    flops: expertsFlops(routed, kept) + (shared ? expertsFlops(shared, tokens) : 0) +
      2 * tokens * sum(linear.map(({ shape }) => elementCount(shape))),
    bytes: expertsBytes({ ...routed, hasAddend: false }, counts) +
      (shared ? expertsBytes(shared, [tokens]) - rowBytes(shared) : 0) +
      sum(linear.map(({ dtype, shape }) => bytesPerElement(dtype) * elementCount(shape))),
    [Symbol.dispose]: () => owned.dispose(),
  };
}

/** The bytes of the shared expert's input, output and routing, which a layer need not move on its own. */
function rowBytes({ tokens, hidden, dtype, weightsDType }: ResolvedExperts): number {
  return tokens * (2 * hidden * bytesPerElement(dtype) + bytesPerElement(weightsDType) + 4);
}

/** Draws a layer: the experts of the job, a router whose logits have a spread of about 1, and the shared expert. */
async function drawLayer(
  job: Job,
  backend: Backend,
  pool: WorkerPool,
  scope: DisposableStack,
  onProgress: Progress,
): Promise<ReadableLayer> {
  const { hidden, experts, topK, dtype, router, sharedIntermediate } = job;
  const upload = (tensor: Tensor) => scope.use(backend.upload(tensor));
  const oneToken = { batch: 1, seq: 1 };
  const { inputs, readWeight } = scope.use(await drawInputs({ ...job, ...oneToken }, backend, pool, onProgress));
  const random = new Generator(BigInt(job.seed) ^ 1n);
  const shared = sharedIntermediate > 0
    ? scope.use(
      await drawInputs(
        {
          ...job,
          ...oneToken,
          weights: job.weights === "fp8" ? "fp8" : "dense", // as models are published
          ...{ experts: 1, topK: 1, intermediate: sharedIntermediate, capacity: null, router: { kind: "softmax" } },
        },
        backend,
        pool,
      ),
    )
    : undefined;
  const weight = random.randn([experts, hidden]);
  const spread = 10 / Math.sqrt(hidden); // the hidden states have a spread of 0.1
  weight.data.forEach((value, i) => weight.data[i] = value * spread);
  const bias = random.randn([experts]);
  bias.data.forEach((value, i) => bias.data[i] = 0.02 * value);
  const correctionBias = router.correctionBias ? upload(bias) : undefined;
  const { activation, activationAlpha, activationLimit, gated, gateUpLayout, weightLayout } = jobOptions(job);
  const computation = { activation, activationAlpha, activationLimit, gated, gateUpLayout, weightLayout };
  const layer: Layer = {
    ...layerWeights(inputs),
    ...computation,
    router: { weight: upload(convert(weight, dtype)), options: { ...router, topK, correctionBias } },
    ...shared && { sharedExpert: { ...layerWeights(shared.inputs), ...computation } },
  };
  return { layer, readWeight };
}

async function readLayer(
  job: Job,
  backend: Backend,
  scope: DisposableStack,
  onProgress: Progress,
): Promise<ReadableLayer> {
  const { op, weights, layer, dtype, topK, router, activation } = job;
  const found = scope.use(
    await CheckpointLayer.open(weights, { layer: layer ?? undefined, topK, router: router.kind, activation }),
  );
  if (found.hasHostSteps && op === "moe") {
    throw new SafetensorsError(
      `${weights}: the host computes steps of layer ${found.number}: only --op experts can be timed`,
    );
  }
  const table = await found.readTokenTable();
  const tokenIds = table && await tokensOf(job, table); // before the weights, because the file may have wrong ids
  const supports = (format: PackedFormat) => backend.supports(format);
  return {
    tokenIds,
    layer: await found.readTo(backendTarget(backend, scope), { dtype, supports, onProgress }),
    readWeight: (name, expert) => found.readExpert(name, expert, dtype),
  };
}

/** Reads or draws the hidden states. */
async function hiddenStates(
  { hiddenFile, batch, seq, hidden, dtype, seed }: Job,
  backend: Backend,
  pool: WorkerPool,
): Promise<BackendTensor> {
  if (hiddenFile !== null) return backend.upload(convert((await readHidden(hiddenFile)).hidden, dtype));
  const drawn = backend.allocate(dtype, [batch * seq, hidden]);
  const random = new Generator(seed);
  await backend.fill(drawn, (piece) => random.fillNormal(pool, piece as Normals, { scale: 0.1 }));
  return drawn;
}

/** Reads or draws the token ids of a layer with a table, [V, K]. */
async function tokensOf(
  { hiddenFile, batch, seq, seed }: Job,
  { shape: [vocabulary = 0] }: Tensor,
): Promise<Int32Array> {
  if (hiddenFile !== null) return await readTokenIds(hiddenFile, batch * seq, vocabulary);
  const { data } = new Generator(seed).rand([batch * seq]);
  return Int32Array.from(data, (value) => Math.floor(value * vocabulary));
}

/** Routes the hidden states as the layer does. */
async function routed(
  backend: Backend,
  hidden: BackendTensor,
  layer: Layer,
  tokenIds: Int32Array | undefined,
  scope: DisposableStack,
): Promise<{ inputs: ExpertsInputs<BackendTensor>; counts: Int32Array }> {
  const { router, norm } = layer;
  const shape = resolveMoe(hidden, layer, { tokenIds });
  const { experts } = shape.routed;
  const chosen = router.tokenTable && tokenIds && expertsOfTokens(router.tokenTable, tokenIds, experts);
  const { routerIndices, routerWeights, inputWeights } = await routeLayer(backend, hidden, router, shape, chosen);
  const assignments = {
    routerIndices: scope.use(routerIndices),
    routingWeights: scope.use(routerWeights),
    inputWeights: inputWeights && scope.use(inputWeights),
  };
  const hiddenStates = norm ? scope.use(await normalize(backend, hidden, norm, hidden.dtype)) : hidden;
  return {
    inputs: { hiddenStates, ...assignments, ...layerWeights(layer) },
    counts: tokensPerExpert(await backend.download(routerIndices), experts),
  };
}

/** Runs the shared expert alone: its rows, and the sigmoid that weighs them. */
async function runShared(
  backend: Backend,
  hidden: BackendTensor,
  { sharedExpert }: Layer,
  scope: DisposableStack,
): Promise<Pick<ExpertsInputs<BackendTensor>, "addend" | "addendWeights">> {
  if (!sharedExpert) return {};
  const { gate, gateUpProj, gateUpProjBias, downProj, downProjBias, ...computation } = sharedExpert;
  const [tokens = 0] = hidden.shape;
  using routerIndices = await backend.steps.full({ dtype: "i32", shape: [tokens, 1], value: 0 });
  using routingWeights = await backend.steps.full({ dtype: "f32", shape: [tokens, 1], value: 1 });
  const addend = scope.use(
    await backend.experts({
      ...{ hiddenStates: hidden, routerIndices, routingWeights },
      ...{ gateUpProj, gateUpProjBias, downProj, downProjBias },
    }, computation),
  );
  if (!gate) return { addend };
  using logits = await backend.ops.linear(hidden, gate, { dtype: "f32" });
  const { routerIndices: unused, routerWeights } = await backend.ops.route(logits, {
    ...{ kind: "sigmoid", topK: 1, renormalize: false },
  });
  unused[Symbol.dispose]();
  return { addend, addendWeights: scope.use(routerWeights) };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
