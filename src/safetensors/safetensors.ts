/**
 * Safetensors files: tensors with names, as model checkpoints have them.
 *
 * @module
 */
import { type DType, formatShape, type Tensor, zeros } from "../tensor/tensor.ts";
import { SafetensorsError } from "./error.ts";
import { quote } from "../text.ts";
import { type Header, headerLength, lengthBytes, parseHeader, type StoredDType, type StoredTensor } from "./header.ts";
import { bytesSource, fileSource, type Source } from "./source.ts";

/** The dtypes of tensors in memory, by their names in a file. */
export const dtypesByStored: { readonly [Stored in StoredDType]?: DType } = {
  F16: "f16",
  BF16: "bf16",
  F32: "f32",
  I32: "i32",
};

/**
 * An open safetensors file. Its header is checked as a whole when it is opened: no tensor overlaps another, none reaches
 * past the end, each has the bytes that its shape says. Tensors are read when they are asked for, one at a time.
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
  /** The path, or what else messages call the file. */
  readonly name: string;
  /** The tensors, by name, in the header's order. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** Free text that the writer left. */
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
   * Opens a file, or bytes that are one, and checks its header.
   *
   * @param file A path, a file URL, or the whole content.
   * @returns The open file. Close it with `using` or its `[Symbol.dispose]()`.
   * @throws {SafetensorsError} If the header is not as the format says.
   */
  static async open(file: string | URL | Uint8Array): Promise<Safetensors> {
    const name = file instanceof Uint8Array ? "The safetensors bytes" : file instanceof URL ? file.href : file;
    return await inFile(name, async () => {
      using scope = new DisposableStack();
      const source = scope.use(file instanceof Uint8Array ? bytesSource(file) : await fileSource(file));
      const prefix = new Uint8Array(Math.min(lengthBytes, source.size));
      await source.read(prefix, 0);
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
   * @throws {SafetensorsError} If there is none of that name.
   */
  describe(name: string): StoredTensor {
    const stored = this.tensors.get(name);
    if (!stored) throw new SafetensorsError(`${this.name}: there is no tensor ${quote(name)}`);
    return stored;
  }

  /**
   * Reads a tensor into shared memory, where the CPU backend takes it without a copy.
   *
   * @param name Its name.
   * @returns The tensor.
   * @throws {SafetensorsError} If there is none of that name, or it is not of dtype F16, BF16, F32 or I32.
   */
  async read(name: string): Promise<Tensor> {
    const { dtype: stored, shape } = this.describe(name);
    const dtype = dtypesByStored[stored];
    if (!dtype) {
      const expected = Object.keys(dtypesByStored).join(", ");
      throw new SafetensorsError(
        `${this.name}: tensor ${quote(name)} must be of dtype ${expected}, it is ${stored} ${formatShape(shape)}`,
      );
    }
    const tensor = zeros(dtype, shape);
    await this.readBytes(name, new Uint8Array(tensor.data.buffer));
    return tensor;
  }

  /**
   * Reads bytes of a tensor into memory, which may be shared, without a copy between.
   *
   * @param name Its name.
   * @param target Where they go; as many are read as it has.
   * @param start The first of them, counted from the tensor's own first byte.
   * @throws {SafetensorsError} If there is no tensor of that name.
   * @throws {RangeError} If the tensor has fewer.
   */
  async readBytes(name: string, target: Uint8Array, start = 0): Promise<void> {
    const { offset, byteLength } = this.describe(name);
    if (!(Number.isSafeInteger(start) && start >= 0 && start + target.length <= byteLength)) {
      throw new RangeError(
        `Cannot read bytes ${start} to ${start + target.length} of tensor ${quote(name)}: it has ${byteLength}`,
      );
    }
    await inFile(this.name, () => this.#source.read(target, this.#dataStart + offset + start));
  }

  /** Closes the file; twice is no error. */
  [Symbol.dispose](): void {
    this.#source[Symbol.dispose]();
  }
}

/** Puts the file's name before what is wrong with it. */
async function inFile<Result>(name: string, run: () => Promise<Result>): Promise<Result> {
  try {
    return await run();
  } catch (error) {
    if (!(error instanceof SafetensorsError)) throw error;
    throw new SafetensorsError(`${name}: ${error.message}`, { cause: error });
  }
}
