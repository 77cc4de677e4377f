// A linear layer's weight as a checkpoint stores it, whatever the format.
import { SafetensorsError } from "../../safetensors/error.ts";
import { quote } from "../../text.ts";
import type { StoredDType, StoredTensor } from "../../safetensors/header.ts";
import type { PackedFormat, PackedParts } from "../../tensor/packed_tensor.ts";
import { type DType, elementCount, formatShape } from "../../tensor/tensor.ts";

/** The tensors of a checkpoint. */
export interface TensorSource {
  /** The path of the checkpoint, for messages. */
  readonly path: string;
  /** Returns whether a tensor exists. */
  has(name: string): boolean;
  /** Describes a tensor. */
  describe(name: string): StoredTensor | Promise<StoredTensor>;
  /** Reads bytes of a tensor, from byte `start` on. */
  readBytes(name: string, target: Uint8Array, start?: number): Promise<void>;
}

/** What config.json says about quantization. */
export interface Quantization {
  /** Rows and columns that share one scale in block FP8. */
  readonly block: readonly [rows: number, columns: number];
  /** Bits per weight of integer formats, if known. */
  readonly bits?: number | undefined;
  /** Weights along the input that share one scale, if known. */
  readonly groupSize?: number | undefined;
  /** Whether compressed-tensors' integers have zero points, if known. */
  readonly hasZeroPoints?: boolean | undefined;
  /** The value of `checkpoint_format`, which GPTQ uses. */
  readonly checkpointFormat?: string | undefined;
  /** Bits and group sizes of single linear layers, by name (MLX). */
  readonly overrides: Readonly<Record<string, { readonly bits?: number; readonly groupSize?: number }>>;
}

/** How a matrix of a weight is kept in one of the library's packed formats. */
export interface StoredPacking {
  /** The format of a matrix. */
  readonly format: PackedFormat;
  /** Returns whether the weight can be kept, which its elements decide. Absent if it can. */
  readonly fits?: (() => Promise<boolean>) | undefined;
  /**
   * Reads one matrix.
   *
   * @param index The expert; 0 if the weight is one matrix.
   * @param target Memory for the parts of the matrix.
   */
  read(index: number, target: PackedParts<Uint8Array>): Promise<void>;
}

/** A weight: one matrix, or one for each of several experts. */
export interface StoredWeight {
  /** The format's name. */
  readonly format: string;
  /** [rows, columns], or [experts, rows, columns], after decoding. */
  readonly shape: readonly number[];
  /** The dtype that holds the values: the weight's own if it is dense, otherwise the one that models compute in. */
  readonly dtype: DType;
  /** The tensors that the weight consists of. */
  readonly tensors: readonly StoredTensor[];
  /** Whether the first tensor has the values themselves. */
  readonly isDense: boolean;
  /**
   * Decodes one matrix.
   *
   * @param index The expert; 0 if the weight is one matrix.
   * @returns Its values in f32, row by row.
   */
  decode(index: number): Promise<Float32Array>;
  /** How the weight can stay packed. Absent if it cannot. */
  readonly packing?: StoredPacking | undefined;
}

/**
 * A format: finds a weight by the name of its linear layer, such as `model.layers.0.mlp.experts.0.up_proj`. Returns undefined
 * if the weight has another format. Most formats do not match, so this needs no promise if the names alone decide it.
 */
export type Format = (
  source: TensorSource,
  linear: string,
  quantization: Quantization,
) => undefined | Promise<StoredWeight | undefined>;

/** Creates an error about a tensor. */
export function tensorError(source: TensorSource, name: string, problem: string): SafetensorsError {
  return new SafetensorsError(`${source.path}: tensor ${quote(name)} ${problem}`);
}

/** Describes a tensor and checks its dtype. */
export function describe(
  source: TensorSource,
  name: string,
  dtypes: readonly StoredDType[],
): StoredTensor | Promise<StoredTensor> {
  if (!source.has(name)) throw tensorError(source, name, "is missing");
  const checked = (tensor: StoredTensor) => {
    if (dtypes.includes(tensor.dtype)) return tensor;
    throw tensorError(source, name, `must be of dtype ${dtypes.join(", ")}, got ${tensor.dtype}`);
  };
  const tensor = source.describe(name);
  return tensor instanceof Promise ? tensor.then(checked) : checked(tensor);
}

/** Describes the scales of MLX's words of floats, which have eight bits. Its words of integers have other scales. */
export async function wordScales(source: TensorSource, linear: string): Promise<StoredTensor | undefined> {
  const scales = source.has(`${linear}.scales`) ? await source.describe(`${linear}.scales`) : undefined;
  return scales?.dtype === "U8" ? scales : undefined;
}

/** Checks a tensor's shape. */
export function expectShape(source: TensorSource, tensor: StoredTensor, shape: readonly number[]): void {
  if (tensor.shape.length === shape.length && shape.every((size, i) => size === tensor.shape[i])) return;
  throw tensorError(source, tensor.name, `must have shape ${formatShape(shape)}, got ${formatShape(tensor.shape)}`);
}

/** Reads the bytes of one of several equal parts of a tensor to memory of that size. */
export function readTo(
  source: TensorSource,
  { name }: StoredTensor,
  index: number,
  target: Uint8Array | undefined,
): Promise<void> {
  return target ? source.readBytes(name, target, index * target.length) : Promise.resolve();
}

/** Reads the bytes of one of `count` equal parts of a tensor. */
export async function readPartOf(
  source: TensorSource,
  { name, byteLength }: StoredTensor,
  index: number,
  count: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(byteLength / count);
  await source.readBytes(name, bytes, index * bytes.length);
  return bytes;
}

/** Returns the number of matrices that a shape has. */
export function matrices(shape: readonly number[]): number {
  return elementCount(shape.slice(0, -2));
}
