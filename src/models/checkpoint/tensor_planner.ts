// Looks up the weights of a layer in a checkpoint and checks them.
import { SafetensorsError } from "../../safetensors/error.ts";
import { quote } from "../../text.ts";
import { type DType, elementCount, formatShape } from "../../tensor/tensor.ts";
import { dense, ofParts } from "../formats/dense.ts";
import { hasWeight, openWeight } from "../formats/mod.ts";
import type { Quantization, StoredWeight } from "../formats/stored_weight.ts";
import type { Checkpoint } from "./checkpoint.ts";

/** A tensor of a layer, made of one or several weights of the checkpoint. */
export interface PlannedTensor {
  readonly shape: readonly number[];
  /** The dtype, or undefined for that of the experts. */
  readonly dtype: DType | undefined;
  readonly parts: readonly Part[];
}

/** Matrices of a weight, and where they go. */
export interface Part {
  readonly weight: StoredWeight;
  /** The first matrix, and how many. */
  readonly first: number;
  readonly count: number;
  /** The element of the layer's tensor at which the part begins. */
  readonly start: number;
  readonly isTransposed: boolean;
}

/** A dimension: a size, or the symbol of any size. */
export type Dimension = number | string;

/** How the matrices of the experts are stacked. */
export interface Stacking {
  /** The number of matrices in one weight. Absent if each weight is one matrix. */
  readonly stacked?: number;
  /** Whether they are stacked along the rows. */
  readonly flat?: boolean | undefined;
  readonly isTransposed?: boolean;
}

/** What tensors of a linear layer are called that only other ways of computing need. */
const unusedSuffixes = [".input_scale", ".input_global_scale", ".output_scale", "_input_scale", ".input_amax"];

/** Looks up weights, and remembers which tensors are in use. */
export class TensorPlanner {
  readonly #checkpoint: Checkpoint;
  readonly #quantization: Quantization;
  readonly #opened = new Map<string, StoredWeight>();
  readonly #used = new Set<string>();
  readonly #dtypes = new Set<DType>();
  readonly #formats = new Set<string>();
  #storedBytes = 0;

  constructor(checkpoint: Checkpoint, quantization: Quantization) {
    this.#checkpoint = checkpoint;
    this.#quantization = quantization;
  }

  /** The dtype that holds all weights of the experts. */
  get expertsDType(): DType {
    const [first = "bf16", ...others] = this.#dtypes;
    return others.length === 0 ? first : "f32";
  }

  /** The formats of the experts' weights. */
  get formats(): readonly string[] {
    return [...this.#formats];
  }

  /** The bytes of the layer's tensors in the checkpoint. */
  get storedBytes(): number {
    return this.#storedBytes;
  }

  has(name: string): boolean {
    return this.#checkpoint.has(name);
  }

  hasWeight(linear: string): boolean {
    return hasWeight(this.#checkpoint, linear);
  }

  /** The name of a weight's first tensor, for messages. */
  nameOf(linear: string): string {
    return this.#opened.get(linear)?.tensors[0]?.name ?? linear;
  }

  error(name: string, problem: string): SafetensorsError {
    return new SafetensorsError(`${this.#checkpoint.path}: tensor ${quote(name)} ${problem}`);
  }

  /** Refuses tensors that are not in use: what is not understood must not be left out in silence. */
  expectUsed(names: readonly string[]): void {
    const surplus = names.find((name) =>
      !this.#used.has(name) && !unusedSuffixes.some((suffix) => name.endsWith(suffix))
    );
    if (surplus !== undefined) throw this.error(surplus, "belongs to this layer, but is not supported");
  }

  /** Plans a weight that keeps its own dtype. */
  async own(linear: string, shape: readonly Dimension[]): Promise<PlannedTensor & { readonly dtype: DType }> {
    const weight = await this.#open(linear);
    this.#expectShape(weight, shape);
    return { shape: weight.shape, dtype: weight.isDense ? weight.dtype : "f32", parts: [whole(weight)] };
  }

  /** Plans a tensor of `size` elements, [size] or [1, size], that keeps its own dtype. */
  async ownTensor(name: string, size: number): Promise<PlannedTensor & { readonly dtype: DType }> {
    const weight = await this.#tensor(name);
    if (weight.shape.length === 2 && weight.shape[0] === 1) this.#expectShape(weight, [1, size]);
    else this.#expectShape(weight, [size]);
    return { shape: [size], dtype: weight.dtype, parts: [whole(weight)] };
  }

  /** Plans a matrix of the experts' dtype. */
  async projection(linear: string, shape: readonly Dimension[]): Promise<PlannedTensor> {
    const weight = await this.#open(linear);
    this.#expectShape(weight, shape);
    return { shape: weight.shape, dtype: undefined, parts: [whole(weight)] };
  }

  /** Plans one row of the experts' dtype. */
  async row(linear: string, size: number): Promise<PlannedTensor> {
    const weight = await this.#open(linear);
    this.#expectShape(weight, weight.shape.length === 1 ? [size] : [1, size]);
    return { shape: [1, size], dtype: undefined, parts: [whole(weight)] };
  }

  /** Opens one matrix of a linear layer. */
  async matrix(
    linear: string,
    index: number,
    shape: readonly Dimension[],
    { stacked, flat }: Stacking = {},
  ): Promise<Omit<Part, "start" | "isTransposed">> {
    const opened = await this.#open(linear);
    const weight = stacked && flat && opened.isDense ? this.#unflatten(opened, stacked) : opened;
    this.#expectShape(weight, stacked ? [stacked, ...shape] : shape);
    this.#count(weight);
    return { weight, first: stacked ? index : 0, count: 1 };
  }

  /** Plans one tensor of matrices that follow each other: for each expert, the linear layers of the names. */
  async stack(
    experts: number,
    names: readonly ((expert: number) => string)[],
    [rows, columns]: readonly [number, number],
    stacking: Stacking,
  ): Promise<PlannedTensor> {
    const { isTransposed = false } = stacking;
    const stored = isTransposed ? [columns, rows] : [rows, columns];
    const parts: Part[] = [];
    for (let e = 0; e < experts; e++) {
      for (const name of names) {
        const start = parts.length * rows * columns;
        parts.push({ ...await this.matrix(name(e), e, stored, stacking), start, isTransposed });
      }
    }
    return { shape: stored, dtype: undefined, parts };
  }

  /** Opens the matrices of all experts. A single expert's may be one matrix. */
  async fused(linear: string, experts: number): Promise<
    { readonly shape: readonly number[]; readonly isOutIn: boolean; readonly planned: PlannedTensor }
  > {
    const weight = await this.#open(linear);
    const isSingle = experts === 1 && weight.shape.length === 2;
    if (!isSingle) this.#expectShape(weight, [experts, "out or in", "in or out"]);
    this.#count(weight);
    const shape = isSingle ? [1, ...weight.shape] : weight.shape;
    const isOutIn = !weight.isDense && weight.format !== "fp8";
    return { shape, isOutIn, planned: { shape, dtype: undefined, parts: [whole(weight)] } };
  }

  /** Plans a bias of the experts' dtype. */
  async bias(name: string, shape: readonly number[]): Promise<PlannedTensor> {
    const weight = await this.#tensor(name);
    this.#expectShape(weight, shape);
    return { shape, dtype: undefined, parts: [whole(weight)] };
  }

  /** Plans biases that follow each other. */
  async biases(
    experts: number,
    names: readonly ((expert: number) => string)[],
    size: number,
  ): Promise<PlannedTensor> {
    const parts: Part[] = [];
    for (let e = 0; e < experts; e++) {
      for (const name of names) {
        const weight = await this.#tensor(name(e));
        const isStacked = weight.shape.length === 2;
        this.#expectShape(weight, isStacked ? [experts, size] : [size]);
        parts.push({
          weight: isStacked ? ofParts(this.#checkpoint, weight, [experts, 1, size]) : weight,
          first: isStacked ? e : 0,
          count: 1,
          start: parts.length * size,
          isTransposed: false,
        });
      }
    }
    return { shape: [size], dtype: undefined, parts };
  }

  #unflatten(weight: StoredWeight, experts: number): StoredWeight {
    const [rows, columns] = weight.shape as [number, number];
    if (weight.shape.length !== 2 || rows % experts !== 0) this.#expectShape(weight, [`${experts} · I`, "H"]);
    return ofParts(this.#checkpoint, weight, [experts, rows / experts, columns]);
  }

  async #open(linear: string): Promise<StoredWeight> {
    const known = this.#opened.get(linear);
    if (known) return known;
    const weight = await openWeight(this.#checkpoint, linear, this.#quantization);
    this.#use(weight);
    this.#opened.set(linear, weight);
    return weight;
  }

  async #tensor(name: string): Promise<StoredWeight> {
    const weight = await dense(this.#checkpoint, name, this.#quantization);
    if (!weight) throw this.error(name, "is missing");
    this.#use(weight);
    return weight;
  }

  #use(weight: StoredWeight): void {
    for (const { name, byteLength } of weight.tensors) {
      if (!this.#used.has(name)) this.#storedBytes += byteLength;
      this.#used.add(name);
    }
  }

  #count({ dtype, format }: StoredWeight): void {
    this.#dtypes.add(dtype);
    this.#formats.add(format);
  }

  #expectShape(weight: StoredWeight, shape: readonly Dimension[]): void {
    const fits = weight.shape.length === shape.length &&
      shape.every((size, i) => typeof size === "string" ? weight.shape[i]! > 0 : weight.shape[i] === size);
    if (fits) return;
    throw this.error(
      weight.tensors[0]!.name,
      `must have shape [${shape.join(", ")}], got ${formatShape(weight.shape)}`,
    );
  }
}

function whole(weight: StoredWeight): Part {
  const count = weight.shape.length > 2 ? elementCount(weight.shape.slice(0, -2)) : 1;
  return { weight, first: 0, count, start: 0, isTransposed: false };
}
