/**
 * Safetensors files: named tensors, the format of model checkpoints.
 *
 * @module
 */
import { describeValue, type DType, formatShape, type Tensor, zeros } from "../tensor/tensor.ts";
import { describeFile } from "./describe_file.ts";
import { SafetensorsError } from "./error.ts";
import { printable, quote } from "../text.ts";
import { type Header, headerLength, lengthBytes, parseHeader, type StoredDType, type StoredTensor } from "./header.ts";
import { bytesSource, fileSource, type Source } from "./source.ts";

/** The dtypes of tensors in memory, by the names of the element types in a file. */
export const dtypesByStored: { readonly [Stored in StoredDType]?: DType } = {
  F16: "f16",
  BF16: "bf16",
  F32: "f32",
  I32: "i32",
  U8: "u8",
};

/**
 * An open safetensors file. The whole header is checked when the file is opened: tensors do not overlap, none ends beyond
 * the file, and each has as many bytes as its shape needs. Tensors are read on demand, one at a time.
 *
 * @example Usage
 * ```ts
 * import { encodeSafetensors, Safetensors, tensor } from "@yamoe/yamoe";
 * import { assertEquals } from "@std/assert";
 *
 * const bytes = encodeSafetensors({ x: tensor(new Float32Array([1, 2])) });
 * using file = await Safetensors.open(bytes);
 * assertEquals((await file.read("x")).data, new Float32Array([1, 2]));
 * ```
 */
export class Safetensors implements Disposable {
  /** The path, or another name of the file for messages. */
  readonly name: string;
  /** The tensors by name, in the order of the header. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** Free text of the writer. */
  readonly metadata: ReadonlyMap<string, string>;
  readonly #source: Source;
  readonly #dataStart: number;

  private constructor(name: string, source: Source, dataStart: number, { tensors, metadata }: Header) {
    this.name = name;
    this.tensors = tensors;
    this.metadata = metadata;
    this.#source = source;
    this.#dataStart = dataStart;
  }

  /**
   * Opens a file, or the bytes of one, and checks its header.
   *
   * @param file A path, a file URL, or the whole content. The content is not copied; do not change it while the file is open.
   * @returns The open file. Close it with `using` or its `[Symbol.dispose]()`.
   * @throws {SafetensorsError} If the header is not valid.
   * @throws {TypeError} If `file` is none of these.
   */
  static async open(file: string | URL | Uint8Array): Promise<Safetensors> {
    if (!(typeof file === "string" || file instanceof URL || file instanceof Uint8Array)) {
      throw new TypeError(`file must be a path, a file URL or a Uint8Array, got ${describeValue(file)}`);
    }
    const name = file instanceof Uint8Array ? "The safetensors bytes" : printable(`${file}`);
    return await inFile(name, async () => {
      using scope = new DisposableStack();
      const source = scope.use(file instanceof Uint8Array ? bytesSource(file) : await fileSource(file));
      const prefix = new Uint8Array(Math.min(lengthBytes, source.size));
      await source.read(prefix, 0);
      await expectSafetensors(source);
      const text = new Uint8Array(headerLength(prefix, source.size));
      await source.read(text, lengthBytes);
      const dataStart = lengthBytes + text.length;
      const header = parseHeader(text, source.size - dataStart);
      scope.move();
      return new Safetensors(name, source, dataStart, header);
    });
  }

  /**
   * Describes a tensor.
   *
   * @throws {SafetensorsError} If the file does not have it.
   */
  describe(name: string): StoredTensor {
    const stored = this.tensors.get(name);
    if (!stored) throw new SafetensorsError(`${this.name}: the tensor ${quote(name)} does not exist`);
    return stored;
  }

  /**
   * Reads a tensor into shared memory, which the CPU backend uses without a copy.
   *
   * @param name The name of the tensor.
   * @returns The tensor.
   * @throws {SafetensorsError} If the file does not have it, or its dtype is not F16, BF16, F32 or I32.
   */
  async read(name: string): Promise<Tensor> {
    const { dtype: stored, shape } = this.describe(name);
    const dtype = dtypesByStored[stored];
    if (!dtype) {
      const expected = Object.keys(dtypesByStored).join(", ");
      throw new SafetensorsError(
        `${this.name}: tensor ${quote(name)} must be of dtype ${expected}, got ${stored} ${formatShape(shape)}`,
      );
    }
    const tensor = zeros(dtype, shape);
    await this.readBytes(name, new Uint8Array(tensor.data.buffer));
    return tensor;
  }

  /**
   * Reads bytes of a tensor directly into memory, which may be shared.
   *
   * @param name The name of the tensor.
   * @param target The memory. As many bytes are read as it has.
   * @param start The position of the first byte, from the beginning of the tensor.
   * @throws {SafetensorsError} If the file does not have the tensor.
   * @throws {RangeError} If the tensor has fewer bytes.
   */
  async readBytes(name: string, target: Uint8Array, start = 0): Promise<void> {
    const { offset, byteLength } = this.describe(name);
    if (!(Number.isSafeInteger(start) && start >= 0 && start + target.length <= byteLength)) {
      throw new RangeError(
        `Cannot read bytes ${start} to ${start + target.length} of tensor ${quote(name)}: it has ${byteLength}`,
      );
    }
    try {
      await this.#source.read(target, this.#dataStart + offset + start);
    } catch (error) {
      throw named(this.name, error);
    }
  }

  /** Closes the file. To close it twice is not an error. */
  [Symbol.dispose](): void {
    this.#source[Symbol.dispose]();
  }
}

/** Refuses a file of another format by its first bytes. A header's length never looks like one. */
async function expectSafetensors(source: Source): Promise<void> {
  const start = new Uint8Array(Math.min(64, source.size));
  await source.read(start, 0);
  const found = describeFile(start);
  if (found !== undefined && start[lengthBytes] !== 0x7b) {
    throw new SafetensorsError(`expected a safetensors file, got ${found}`);
  }
}

/** Adds the name of the file to the errors of a function. */
async function inFile<Result>(name: string, run: () => Promise<Result>): Promise<Result> {
  try {
    return await run();
  } catch (error) {
    throw named(name, error);
  }
}

function named(name: string, error: unknown): unknown {
  return error instanceof SafetensorsError
    ? new SafetensorsError(`${name}: ${error.message}`, { cause: error })
    : error;
}
