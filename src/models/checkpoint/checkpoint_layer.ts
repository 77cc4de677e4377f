/**
 * Mixture-of-Experts layers in the checkpoints of models.
 *
 * @module
 */
import type { MoeLayer, MoeRouter } from "../../contract/moe.ts";
import { weightBytes } from "../../contract/weights.ts";
import type { RouterKind } from "../../routing/router.ts";
import { mapLayer, type ResolvedMoe, resolveMoe } from "../../contract/resolve_moe.ts";
import type { PackedFormat, PackedSpec } from "../../tensor/packed_tensor.ts";
import { bytesPerElement, type DType, elementCount, formatShape, type Tensor, tensor } from "../../tensor/tensor.ts";
import { SafetensorsError } from "../../safetensors/error.ts";
import { quote } from "../../text.ts";
import { Checkpoint } from "./checkpoint.ts";
import { findLayer, type LayerNames } from "./layer_names.ts";
import { type PlannedNorms, type PlannedTensor, type PlannedWeight, planTensors } from "./layer_tensors.ts";
import { fitsPacked, readPacked } from "./packed_plan.ts";
import { ModelConfig } from "../families/model_config.ts";
import { checkFamily } from "../families/settings_of_family.ts";
import { hostTarget, type LayerTarget } from "./layer_target.ts";
import { partSize, readPiece } from "./read_part.ts";
import { readIntegers } from "./read_integers.ts";
import { type LayerOptions, resolveSettings } from "./settings.ts";

/** How a layer is read. */
export interface ReadOptions {
  /**
   * The dtype of the activations, and of the experts' weights that are not packed: they are rounded to nearest. The default is
   * the weights' own.
   */
  readonly dtype?: DType | undefined;
  /** Returns whether a weight in a packed format stays packed. By default, all are decoded. */
  readonly supports?: ((format: PackedFormat) => boolean) | undefined;
  /** Called with the fraction that is read. */
  readonly onProgress?: ((fraction: number) => void) | undefined;
}

/** A layer in a checkpoint. Opening it checks all names, dtypes and shapes and reads no element. */
export class CheckpointLayer implements Disposable {
  /** The model family, from config.json or the tensors' names. */
  readonly family: string;
  /** The layer's number, or undefined if the names have none. */
  readonly number: number | undefined;
  /** The dtype that holds all weights of the experts without loss. Weights of fewer bits count as bf16. */
  readonly dtype: DType;
  /** The sizes, with every option decided. */
  readonly shape: ResolvedMoe;
  /** The kind of the router. */
  readonly routerKind: RouterKind;
  /** The number of tokens of a sequence that an expert of the model keeps, if it drops the others. */
  readonly expertCapacity: number | undefined;
  /** What the user should know: tensors that are not used, and choices that the names leave open. */
  readonly notes: readonly string[];
  /** The formats of the experts' weights in the files. */
  readonly formats: readonly string[];
  /** Whether the experts' products have biases. */
  readonly hasBiases: boolean;
  /** Whether the host computes steps of the layer: norms, capped logits, or the weights of experts that a table chooses. */
  readonly hasHostSteps: boolean;
  readonly #checkpoint: Checkpoint;
  readonly #plan: MoeLayer<PlannedTensor, PlannedWeight>;
  readonly #tokenTable: string | undefined;
  readonly #norms: PlannedNorms | undefined;

  private constructor(checkpoint: Checkpoint, resolved: ResolvedLayer) {
    this.#checkpoint = checkpoint;
    this.#plan = resolved.plan;
    ({ family: this.family, number: this.number, dtype: this.dtype, shape: this.shape } = resolved);
    ({ routerKind: this.routerKind, notes: this.notes, formats: this.formats } = resolved);
    this.expertCapacity = resolved.expertCapacity;
    this.#tokenTable = resolved.tokenTable;
    this.#norms = resolved.norms;
    this.hasBiases = resolved.plan.gateUpProjBias !== undefined || resolved.plan.downProjBias !== undefined;
    this.hasHostSteps = resolved.tokenTable !== undefined || resolved.norms !== undefined ||
      resolved.plan.router.logitCap !== undefined;
  }

  /**
   * Opens a checkpoint and finds a layer in it. The names are those of the models' own checkpoints, or plain names:
   * `router.weight`, `router.bias`, `experts.gate_up_proj`, `experts.gate_up_proj_bias`, `experts.down_proj`,
   * `experts.down_proj_bias`, with or without `layers.N.` before them. The `config.json` beside the weights says how the
   * layer computes. An option replaces what it names, and nothing else.
   *
   * @param path A safetensors file, an index of several, or a directory with either.
   * @param options Which layer to open, and what replaces the model's way of computing.
   * @returns The layer. Close it with `using` or its `[Symbol.dispose]()`.
   * @throws {SafetensorsError} If a tensor is missing, truncated, overlapping, or has another dtype or shape, or if
   * something is unknown that an option could say.
   * @throws {RangeError} If an option is out of range, or does not fit another option.
   */
  static async open(path: string, options: LayerOptions = {}): Promise<CheckpointLayer> {
    using scope = new DisposableStack();
    const checkpoint = scope.use(await Checkpoint.open(path));
    const json = await checkpoint.config();
    const configOf = (component: string) => json && new ModelConfig(json.value, json.path, component);
    const model = configOf(options.prefix?.split(".")[0] ?? "");
    if (model && !options.preset) checkFamily(model);
    const names = findLayer(checkpoint, options, model?.layers);
    const config = configOf(names.base.split(".")[0] ?? "");
    const resolved = await resolveLayer(checkpoint, names, config, options);
    scope.move();
    return new CheckpointLayer(checkpoint, resolved);
  }

  /** The paths of all files of the checkpoint. */
  get files(): readonly string[] {
    return this.#checkpoint.files;
  }

  /** Returns the bytes that the layer's tensors can take in memory. */
  bytes({ dtype = this.dtype, supports = () => false }: ReadOptions = {}): number {
    let bytes = 0;
    const add = (planned: PlannedTensor) => {
      bytes += elementCount(planned.shape) * bytesPerElement(planned.dtype ?? dtype);
    };
    mapLayer(this.#plan, add, (planned) => {
      if (planned.packed && supports(planned.packed.format)) bytes += weightBytes(planned.packed.format, planned.shape);
      else add(planned);
    });
    return bytes;
  }

  /**
   * Reads the layer's tensors into shared memory, one after the other. Packed weights are decoded.
   *
   * @param dtype The dtype that the experts' weights are converted to, rounded to nearest. The default is their own.
   * @param onProgress Called after each part with the fraction that is read.
   * @returns The layer, for {@linkcode moe}.
   * @throws {RangeError} If the allocation fails.
   */
  read(dtype: DType = this.dtype, onProgress?: (fraction: number) => void): Promise<MoeLayer<Tensor, Tensor>> {
    const { dense } = hostTarget;
    const packed = () => Promise.reject(new TypeError("No weight stays packed"));
    return this.readTo<Tensor, never>({ dense, packed }, { dtype, onProgress });
  }

  /**
   * Reads the layer's tensors to the host or a backend, one after the other.
   *
   * @param target Makes the tensors.
   * @param options The dtype, and which weights stay packed.
   * @returns The layer with what the target returned.
   * @throws {RangeError} If the allocation fails.
   * @throws {SafetensorsError} If a weight cannot stay packed.
   */
  async readTo<Dense, Packed extends PackedSpec>(
    target: LayerTarget<Dense, Packed>,
    { dtype = this.dtype, supports = () => false, onProgress = () => {} }: ReadOptions = {},
  ): Promise<MoeLayer<Dense, Dense | Packed>> {
    const tensors: PlannedTensor[] = [], weights: PlannedWeight[] = [];
    mapLayer(this.#plan, (tensor) => tensors.push(tensor), (weight) => weights.push(weight));
    const total = [...tensors, ...weights].reduce((sum, { shape }) => sum + elementCount(shape), 0);
    let done = 0;
    const onRead = (elements: number) => onProgress((done += elements) / total);
    const read = ({ shape, parts, dtype: own = dtype }: PlannedTensor) =>
      target.dense(
        own,
        shape,
        (data, start) => readPiece(this.#checkpoint, parts, { data, dtype: own, start }, onRead),
      );
    const made = new Map<PlannedTensor, Dense>(), madeWeights = new Map<PlannedWeight, Dense | Packed>();
    for (const tensor of tensors) made.set(tensor, await read(tensor));
    for (const weight of weights) {
      const { packed, shape } = weight;
      const staysPacked = packed && supports(packed.format) && await fitsPacked(packed);
      madeWeights.set(
        weight,
        staysPacked ? await readPacked(packed, shape, dtype, target, onRead) : await read(weight),
      );
    }
    const layer = mapLayer(this.#plan, (tensor) => made.get(tensor)!, (weight) => madeWeights.get(weight)!);
    const { router, ...norm } = await this.#readNorms();
    const tokenTable = await this.readTokenTable();
    const { expertCapacity } = this;
    return {
      ...{ ...layer, ...norm, ...expertCapacity !== undefined && { expertCapacity } },
      router: { ...layer.router, ...router, ...tokenTable && { tokenTable } },
    };
  }

  /**
   * Reads a weight of one routed expert into shared memory, decoded.
   *
   * @param name The weight.
   * @param expert The expert.
   * @param dtype The dtype that it is converted to, rounded to nearest. The default is its own.
   * @returns [1, ...], in the layout of the layer.
   */
  readExpert(name: "gateUpProj" | "downProj", expert: number, dtype: DType = this.dtype): Promise<Tensor> {
    const { shape, parts } = this.#plan[name];
    const size = elementCount(shape.slice(1)), start = expert * size, end = start + size;
    const own = parts.flatMap((part) => {
      const each = partSize(part) / part.count;
      const first = Math.max(0, (start - part.start) / each);
      const count = Math.min(part.count, (end - part.start) / each) - first;
      const at = part.start + first * each - start;
      return count > 0 ? [{ ...part, first: part.first + first, count, start: at }] : [];
    });
    return hostTarget.dense(
      dtype,
      [1, ...shape.slice(1)],
      (data, at) => readPiece(this.#checkpoint, own, { data, dtype, start: at }, () => {}),
    );
  }

  /** Reads what the host computes with. The router of Gemma 4 also divides its input by the root of the hidden size. */
  async #readNorms(): Promise<Pick<MoeLayer, "norm"> & { readonly router?: Pick<MoeRouter, "norm" | "expertScale"> }> {
    if (!this.#norms) return {};
    const { epsilon, router, experts, expertScale } = this.#norms;
    const read = ({ shape, parts }: PlannedTensor) =>
      hostTarget.dense(
        "f32",
        shape,
        (data, start) => readPiece(this.#checkpoint, parts, { data, dtype: "f32", start }, () => {}),
      );
    const scale = await read(router), root = Math.sqrt(this.shape.hidden);
    scale.data.forEach((value, i) => scale.data[i] = value / root);
    return {
      norm: { weight: await read(experts), epsilon },
      router: { norm: { weight: scale, epsilon }, expertScale: await read(expertScale) },
    };
  }

  /**
   * Reads the table from token ids to experts, which then replaces the choice by the router's scores.
   *
   * @returns [V, K], i32, or undefined if the layer has none.
   * @throws {SafetensorsError} If the table is malformed.
   */
  async readTokenTable(): Promise<Tensor | undefined> {
    const name = this.#tokenTable;
    if (name === undefined) return undefined;
    const { shape } = await this.#checkpoint.describe(name);
    const { topK } = this.shape.routed;
    if (shape.length === 2 && shape[1] === topK) {
      return tensor(await readIntegers(this.#checkpoint, name, this.#checkpoint.path), shape);
    }
    throw new SafetensorsError(
      `${this.#checkpoint.path}: tensor ${quote(name)} must have shape [vocabulary, ${topK}], got ${
        formatShape(shape)
      }`,
    );
  }

  /** Closes the files. Has no effect if they are closed. */
  [Symbol.dispose](): void {
    this.#checkpoint[Symbol.dispose]();
  }
}

/** A layer whose tensors and options are all known. */
export interface ResolvedLayer extends
  Pick<
    CheckpointLayer,
    "family" | "number" | "dtype" | "shape" | "routerKind" | "expertCapacity" | "notes" | "formats"
  > {
  readonly plan: MoeLayer<PlannedTensor, PlannedWeight>;
  readonly norms: PlannedNorms | undefined;
  /** The name of the table from token ids to experts. */
  readonly tokenTable: string | undefined;
  /** The bytes of the layer's tensors in the files. */
  readonly storedBytes: number;
}

/**
 * Decides how a layer computes, and looks up and checks all of its tensors. Reads no element.
 *
 * @throws {SafetensorsError} If a tensor is missing, has another dtype or shape, or something is unknown.
 * @throws {RangeError} If an option is out of range, or does not fit another option.
 */
export async function resolveLayer(
  checkpoint: Checkpoint,
  names: LayerNames,
  config: ModelConfig | undefined,
  options: LayerOptions,
): Promise<ResolvedLayer> {
  const { family, settings, notes } = resolveSettings(names, config, options);
  const { layer: plan, dtype, formats, storedBytes, norms } = await planTensors(checkpoint, names, settings);
  const tokens: Described = { dtype, shape: [1, plan.router.weight.shape[1]!] };
  const shape = resolveMoe(tokens, mapLayer(plan, (planned) => describe(planned, dtype)));
  const { kind: routerKind } = settings.router;
  return {
    family,
    number: names.layer,
    dtype,
    shape,
    routerKind,
    expertCapacity: settings.expertCapacity,
    notes,
    formats,
    plan,
    norms,
    storedBytes,
    tokenTable: names.tokenTable,
  };
}

type Described = Pick<Tensor, "dtype" | "shape">;

function describe({ dtype, shape }: PlannedTensor, standard: DType): Described {
  return { dtype: dtype ?? standard, shape };
}
