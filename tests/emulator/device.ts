// A GPU for small kernels: the emulator of a kernel file, with the cubin that nvcc builds from the same file.
import { type CubinKernel, readCubin } from "../../cuda/cubin.ts";
import { Context } from "../../src/cuda/driver/context.ts";
import { manifest } from "../../src/cuda/images/built/manifest.ts";
import { loadImage } from "../../src/cuda/images/load.ts";
import { argumentBytes, type ArgumentField, type KernelRecord } from "../../src/cuda/images/manifest_types.ts";
import { Driver } from "../../src/cuda/driver/driver.ts";
import type { ArgumentValue } from "../../src/cuda/driver/kernel.ts";
import { DeviceBuffer } from "../../src/cuda/driver/memory.ts";
import { Module } from "../../src/cuda/driver/module.ts";
import { Stream } from "../../src/cuda/driver/stream.ts";
import { MemoryCounter } from "../../src/backend/memory_counter.ts";
import { buildCubin, buildEmulator } from "./build.ts";
import { Control } from "./control.ts";

/** An emulated device with one module. Launches kernels and copies typed arrays. */
export class TestDevice implements Disposable {
  readonly control: Control;
  readonly stream: Stream;
  readonly #context: Context;
  readonly #module: Module;
  readonly #counter = new MemoryCounter();
  readonly #buffers = new DisposableStack();

  /** Builds the emulator and the cubin of a kernel file and opens a device. */
  static async open(source: URL, arch: number): Promise<TestDevice> {
    const { library } = await buildEmulator({ arch, sources: [source.pathname] });
    const image = await buildCubin(source.pathname, arch);
    return new TestDevice(library, image, readCubin(image, arch).map(withNumberedFields));
  }

  /** Opens the product's kernels on a built emulator. */
  static async ofProduct(library: string, image = "sm_80"): Promise<TestDevice> {
    return new TestDevice(library, await loadImage(image), manifest.images[image]!.kernels);
  }

  private constructor(library: string, image: Uint8Array<ArrayBuffer>, kernels: readonly KernelRecord[]) {
    this.control = new Control(library);
    this.control.reset();
    this.#context = new Context(new Driver(library), 0);
    this.#module = new Module(this.#context, image, kernels);
    this.stream = new Stream(this.#context);
  }

  /** Copies an array to the device and returns its address. */
  upload(data: Int32Array<ArrayBuffer> | Uint32Array<ArrayBuffer> | Float32Array<ArrayBuffer>): bigint {
    const buffer = this.allocate(data.byteLength);
    buffer.write(data);
    return buffer.pointer;
  }

  /** Allocates uninitialized memory. */
  allocate(bytes: number): DeviceBuffer {
    return this.#buffers.use(new DeviceBuffer(this.stream, bytes, this.#counter));
  }

  /** Runs a kernel and waits until it has finished. */
  launch(
    kernel: string,
    threads: number,
    args: readonly ArgumentValue[] | Readonly<Record<string, ArgumentValue>>,
    { blocks = 1, sharedBytes = 0 } = {},
  ): void {
    this.#module.launch(this.stream, {
      kernel,
      blocks,
      threads,
      sharedBytes,
      arguments: Object.fromEntries(Object.entries(args)),
    });
    this.stream.synchronize();
  }

  /** Copies 32-bit words to the host. */
  download(buffer: DeviceBuffer, words = buffer.bytes / 4): Int32Array<ArrayBuffer> {
    const out = new Int32Array(words);
    buffer.read(out);
    this.stream.synchronize();
    return out;
  }

  [Symbol.dispose](): void {
    this.#buffers[Symbol.dispose]();
    this.stream[Symbol.dispose]();
    this.#module[Symbol.dispose]();
    this.#context[Symbol.dispose]();
  }
}

/** A kernel with plain parameters, as if they were the fields "0", "1" and so on of a struct. */
function withNumberedFields({ parameters, ...kernel }: CubinKernel): KernelRecord {
  const typeOf = (size: number): ArgumentField["type"] =>
    size === argumentBytes.tensorMap ? "tensorMap" : size === argumentBytes.pointer ? "pointer" : "int";
  const fields = parameters.map(({ offset, size }, i) => ({ name: `${i}`, type: typeOf(size), offset, size }));
  const last = fields.at(-1);
  return { ...kernel, argumentsOffset: 0, argumentsBytes: last ? last.offset + last.size : 0, fields };
}
