// Looks up the tensors of a layer in a checkpoint and checks their dtypes and shapes. It reads no element.
import { SafetensorsError } from "../../safetensors/error.ts";
import { quote } from "../../text.ts";
import type { StoredDType, StoredTensor } from "../../safetensors/header.ts";
import { dtypesByStored } from "../../safetensors/safetensors.ts";
import { type DType, elementCount, formatShape } from "../../tensor/tensor.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { mxfp4Block } from "./quantized.ts";
import { quantizationOf } from "./quantizations.ts";

/** A tensor of a layer, made of one tensor in the checkpoint or of several in a row. */
export interface PlannedTensor {
  readonly shape: readonly number[];
  /** The tensor's own dtype. Undefined if the tensor has the dtype of the experts. */
  readonly dtype: DType | undefined;
  readonly parts: readonly Part[];
}

/** A tensor in the checkpoint that becomes a part of a tensor of the layer. */
export interface Part {
  readonly name: string;
  readonly stored: StoredDType;
  /** How the elements are stored: one by one, as FP8 with scales, or as pairs of FP4 with scales. */
  readonly format: "dense" | "fp8" | "fp4";
  /** The shape of the elements after decoding. */
  readonly shape: readonly number[];
  /** The index of the first element in the tensor of the layer. */
  readonly start: number;
  /** The scales of a quantized part. */
  readonly scales?: Scales;
}

/** The tensor of scales of a quantized part. */
export interface Scales {
  readonly name: string;
  readonly stored: StoredDType;
  /** How many rows share a scale. */
  readonly rows: number;
  /** How many columns share a scale. */
  readonly columns: number;
}

/** The dtypes of dense tensors. */
const floats: readonly StoredDType[] = ["F16", "BF16", "F32"];

/** The dtypes of a byte that is the exponent of a scale. gpt-oss stores them as U8. */
const exponents: readonly StoredDType[] = ["F8_E8M0", "U8"];

/** The dtype that weights of fewer bits count as. */
const decodedDType = "bf16";

/** What a dimension must be: a size, or a symbol for any size. */
export type Dimension = number | string;

/** Looks tensors up and records which were used. */
export class TensorPlanner {
  readonly #checkpoint: Checkpoint;
  readonly #weightBlock: readonly [number, number];
  readonly #used = new Set<string>();
  readonly #dtypes = new Set<DType>();

  constructor(checkpoint: Checkpoint, weightBlock: readonly [number, number]) {
    this.#checkpoint = checkpoint;
    this.#weightBlock = weightBlock;
  }

  /** The dtype that holds all of the experts' tensors without loss. Weights of fewer bits count as bf16. */
  get expertsDType(): DType {
    const [dtype = "f32", ...others] = this.#dtypes;
    return others.length === 0 ? dtype : "f32";
  }

  /** Refuses names that were not looked up: ignoring a tensor could change what the layer computes. */
  expectUsed(names: readonly string[]): void {
    const surplus = names.find((name) => !this.#used.has(name));
    if (surplus === undefined) return;
    const quantization = quantizationOf(this.#checkpoint, surplus.replace(/\.[^.]*$/, ""));
    throw this.error(
      surplus,
      quantization
        ? `is of a quantization that is not supported (${quantization})`
        : "belongs to this layer, but is not supported",
    );
  }

  /** Returns whether a tensor exists. */
  has(name: string): boolean {
    return this.#checkpoint.has(name);
  }

  /** Makes an error about a tensor. */
  error(name: string, problem: string): SafetensorsError {
    return new SafetensorsError(`${this.#checkpoint.path}: tensor ${quote(name)} ${problem}`);
  }

  /** Plans a dense tensor that keeps its own dtype. Leading dimensions of size 1 may be absent from the shape. */
  async own(name: string, shape: readonly Dimension[]): Promise<PlannedTensor & { readonly dtype: DType }> {
    const tensor = await this.#describe(name);
    let { shape: actual } = tensor;
    while (actual.length > shape.length && actual[0] === 1) actual = actual.slice(1);
    this.#expectShape(name, actual, shape);
    const dtype = this.#expectFloat(tensor);
    const part: Part = { name, stored: tensor.dtype, format: "dense", shape: actual, start: 0 };
    return { shape: actual, dtype, parts: [part] };
  }

  /** Plans a tensor of the experts. */
  async whole(name: string, shape: readonly Dimension[]): Promise<PlannedTensor> {
    const part = await this.part(name, shape);
    return { shape: part.shape, dtype: undefined, parts: [part] };
  }

  /** Plans one tensor of the experts from several: for each expert those of some names. */
  async stack(
    experts: number,
    names: (expert: number) => readonly string[],
    shape: readonly number[],
  ): Promise<PlannedTensor> {
    const parts: Part[] = [];
    for (let e = 0; e < experts; e++) {
      for (const name of names(e)) {
        parts.push({ ...await this.part(name, shape), start: parts.length * elementCount(shape) });
      }
    }
    return { shape, dtype: undefined, parts };
  }

  /** Returns whether gpt-oss's MXFP4 blocks and scales replace a tensor. */
  hasBlocks(name: string): boolean {
    return !this.has(name) && this.has(`${name}_blocks`);
  }

  /** Plans a tensor of all experts, dense or in gpt-oss's MXFP4. */
  async fused(name: string, shape: readonly Dimension[]): Promise<PlannedTensor> {
    if (!this.hasBlocks(name)) return await this.whole(name, shape);
    const blocks = await this.#describe(`${name}_blocks`);
    this.#expectDType(blocks, ["U8"]);
    this.#expectShape(blocks.name, blocks.shape, [shape[0]!, "out", "in / 32", mxfp4Block / 2]);
    const [experts, rows, groups] = blocks.shape as [number, number, number];
    const scales = await this.#scales(`${name}_scales`, [experts, rows, groups], exponents);
    const whole = [experts, rows, groups * mxfp4Block];
    this.#dtypes.add(decodedDType);
    const part: Part = {
      name: blocks.name,
      stored: blocks.dtype,
      format: "fp4",
      shape: whole,
      start: 0,
      scales: { ...scales, rows: 1, columns: mxfp4Block },
    };
    return { shape: whole, dtype: undefined, parts: [part] };
  }

  /** Plans a tensor of the experts, dense, or quantized with scales beside it. */
  async part(name: string, shape: readonly Dimension[]): Promise<Part> {
    const tensor = await this.#describe(name);
    const scales = [`${name}_scale_inv`, name.replace(/\.weight$/, ".scale")]
      .find((scales) => scales !== name && this.has(scales));
    const format = scales === undefined
      ? "dense"
      : tensor.dtype === "F8_E4M3"
      ? "fp8"
      : tensor.dtype === "I8" || tensor.dtype === "U8"
      ? "fp4"
      : "dense";
    const columns = (tensor.shape.at(-1) ?? 1) * (format === "fp4" ? 2 : 1);
    const decoded = [...tensor.shape.slice(0, -1), columns];
    this.#expectShape(name, format === "fp4" ? decoded : tensor.shape, shape);
    const part = { name, stored: tensor.dtype, format, shape: decoded, start: 0 } as const;
    if (format === "dense" || scales === undefined) {
      this.#dtypes.add(this.#expectFloat(tensor));
      return { ...part, shape: tensor.shape };
    }
    const block = format === "fp4" ? [1, mxfp4Block] as const : this.#weightBlock;
    const blocks = [...decoded.slice(0, -2), ...decoded.slice(-2).map((size, i) => Math.ceil(size / block[i]!))];
    const stored = format === "fp4" ? exponents : [...floats, ...exponents];
    this.#dtypes.add(decodedDType);
    return { ...part, scales: { ...await this.#scales(scales, blocks, stored), rows: block[0], columns: block[1] } };
  }

  async #scales(
    name: string,
    shape: readonly number[],
    expected: readonly StoredDType[],
  ): Promise<Pick<Scales, "name" | "stored">> {
    const tensor = await this.#describe(name);
    this.#expectDType(tensor, expected);
    this.#expectShape(name, tensor.shape, shape);
    return { name, stored: tensor.dtype };
  }

  async #describe(name: string): Promise<StoredTensor> {
    if (!this.has(name)) {
      const quantization = quantizationOf(this.#checkpoint, name.replace(/\.weight$/, ""));
      throw this.error(
        name,
        quantization ? `is missing: its quantization is not supported (${quantization})` : "is missing",
      );
    }
    this.#used.add(name);
    return await this.#checkpoint.describe(name);
  }

  #expectShape(name: string, actual: readonly number[], expected: readonly Dimension[]): void {
    const fits = actual.length === expected.length &&
      expected.every((size, i) => typeof size === "string" ? actual[i]! > 0 : actual[i] === size);
    if (!fits) throw this.error(name, `must have shape [${expected.join(", ")}], got ${formatShape(actual)}`);
  }

  #expectFloat(tensor: StoredTensor): DType {
    this.#expectDType(tensor, floats);
    return dtypesByStored[tensor.dtype] as DType;
  }

  #expectDType({ name, dtype }: StoredTensor, expected: readonly StoredDType[]): void {
    if (expected.includes(dtype)) return;
    throw this.error(name, `must be of dtype ${expected.join(", ")}, got ${dtype}`);
  }
}
