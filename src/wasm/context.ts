// The context of a task: an instance of the kernels with a linear memory of its own, on a worker or on the main thread.
import type { openBlas, Sgemm } from "./blas.ts";
import type { Kernels } from "./module.ts";

/** Elements that a context can copy. */
export type Staged = Uint8Array | Uint16Array | Float32Array;

/** An instance of the WebAssembly kernels with its own memory. */
export interface Context {
  readonly kernels: Kernels;
  /**
   * Lays out areas of the given sizes in bytes, each aligned to 64 bytes, and returns their addresses. The areas of the
   * previous call are no longer valid, but the first area keeps its contents.
   *
   * @throws {RangeError} If the areas exceed 4 GiB or the system has no memory for them.
   */
  allocate<Name extends string>(sizes: Record<Name, number>): Record<Name, number>;
  /**
   * Copies `count` elements of a shared array, from the element `from` on, to the address `to`.
   *
   * The address is a multiple of the size of an element.
   */
  stage(source: Staged, from: number, count: number, to: number): void;
  /** Copies rows of `length` elements that follow each other, `stride` bytes from one copy to the next. */
  stageRows(source: Staged, from: number, rows: number, length: number, to: number, stride: number): void;
  /** Views of the whole memory. They are valid until the next `allocate`. */
  readonly u8: Uint8Array<ArrayBuffer>;
  readonly u16: Uint16Array<ArrayBuffer>;
  readonly u32: Uint32Array<ArrayBuffer>;
  readonly f16: Float16Array<ArrayBuffer>;
  readonly f32: Float32Array<ArrayBuffer>;
  readonly f64: Float64Array<ArrayBuffer>;
  /** The matrix product of a BLAS library. Opens the library on first use. */
  sgemm(library: string): Sgemm;
}

/** Makes a context. The function closes over nothing, so a worker can run its source. */
export function createContext(module: WebAssembly.Module, open?: typeof openBlas): Context {
  const page = 65536;
  const pieceBytes = 8192;
  const piece = 49152; // the kernels' constants and their own buffers are below
  const buffers = piece + pieceBytes;
  const memory = new WebAssembly.Memory({ initial: 2, maximum: 65536 });
  const instance = new WebAssembly.Instance(module, { env: { memory } });
  let buffer: ArrayBuffer;
  const opened: Record<string, Sgemm> = {};
  const context = {
    kernels: instance.exports as unknown as Kernels,
    allocate(sizes: Record<string, number>) {
      let end = buffers;
      const starts: Record<string, number> = {};
      for (const name in sizes) {
        starts[name] = end;
        end += Math.ceil(sizes[name]! / 64) * 64;
      }
      const missing = end - memory.buffer.byteLength;
      try {
        if (missing > 0) memory.grow(Math.ceil(missing / page));
      } catch (cause) {
        throw new RangeError(`Cannot allocate ${end} bytes for a worker: out of memory`, { cause });
      }
      view();
      return starts;
    },
    stage(source: Staged, from: number, count: number, to: number) {
      const size = source.BYTES_PER_ELEMENT;
      const view = viewOf(size);
      const length = pieceBytes / size;
      if (count <= length) return view.set(source.subarray(from, from + count), to / size);
      // Copies from main memory are 1.5 times as fast if they go to a piece that stays in L1, and from there to L2.
      for (const end = from + count; from < end; from += length, to += pieceBytes) {
        const part = Math.min(length, end - from);
        view.set(source.subarray(from, from + part), piece / size);
        context.kernels.spread(piece, 1, part * size, to, 0);
      }
    },
    stageRows(source: Staged, from: number, rows: number, length: number, to: number, stride: number) {
      const size = source.BYTES_PER_ELEMENT;
      const together = Math.floor(pieceBytes / (length * size));
      if (stride === length * size) return context.stage(source, from, rows * length, to);
      if (together === 0) {
        for (let r = 0; r < rows; r++) context.stage(source, from + r * length, length, to + r * stride);
        return;
      }
      const view = viewOf(size);
      for (let r = 0; r < rows; r += together) {
        const start = from + r * length, count = Math.min(together, rows - r) * length;
        view.set(source.subarray(start, start + count), piece / size);
        context.kernels.spread(piece, count / length, length * size, to + r * stride, stride);
      }
    },
    sgemm: (library: string) => opened[library] ??= open!(library).sgemm,
  } as { -readonly [Key in keyof Context]: Context[Key] };
  const viewOf = (size: number) => size === 1 ? context.u8 : size === 2 ? context.u16 : context.f32;
  function view() {
    if (buffer === memory.buffer) return;
    buffer = memory.buffer as ArrayBuffer;
    context.u8 = new Uint8Array(buffer);
    context.u16 = new Uint16Array(buffer);
    context.u32 = new Uint32Array(buffer);
    context.f16 = new Float16Array(buffer);
    context.f32 = new Float32Array(buffer);
    context.f64 = new Float64Array(buffer);
  }
  view();
  return context;
}
