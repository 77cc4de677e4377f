// What a task runs in: an instance of the kernels and a linear memory of its own, on a worker or on the calling thread.
import type { openBlas, Sgemm } from "./blas.ts";
import type { Kernels } from "./module.ts";

/** An instance of the WebAssembly kernels with its private memory. */
export interface Context {
  readonly kernels: Kernels;
  /** Lays out fresh, 64-byte aligned areas of the given sizes and returns where each starts. Ends the areas of the call before. */
  allocate<Name extends string>(sizes: Record<Name, number>): Record<Name, number>;
  /** Views of the whole memory. Valid until the next `allocate`. */
  readonly u16: Uint16Array<ArrayBuffer>;
  readonly u32: Uint32Array<ArrayBuffer>;
  readonly f16: Float16Array<ArrayBuffer>;
  readonly f32: Float32Array<ArrayBuffer>;
  readonly f64: Float64Array<ArrayBuffer>;
  /** A library's product; opens the library on first use. */
  sgemm(library: string): Sgemm;
}

/** Makes a context. Closes over nothing, so that a worker can be given its source. */
export function createContext(module: WebAssembly.Module, open?: typeof openBlas): Context {
  const page = 65536;
  const memory = new WebAssembly.Memory({ initial: 2, maximum: 65536 });
  const instance = new WebAssembly.Instance(module, { env: { memory } });
  let buffer: ArrayBuffer;
  const opened: Record<string, Sgemm> = {};
  const context = {
    kernels: instance.exports as unknown as Kernels,
    allocate(sizes: Record<string, number>) {
      let end = 8192; // below lie the kernels' constants and what they keep for themselves
      const starts: Record<string, number> = {};
      for (const name in sizes) {
        starts[name] = end;
        end += Math.ceil(sizes[name]! / 64) * 64;
      }
      const missing = end - memory.buffer.byteLength;
      if (missing > 0) memory.grow(Math.ceil(missing / page));
      view();
      return starts;
    },
    sgemm: (library: string) => opened[library] ??= open!(library).sgemm,
  } as { -readonly [Key in keyof Context]: Context[Key] };
  function view() {
    if (buffer === memory.buffer) return;
    buffer = memory.buffer as ArrayBuffer;
    context.u16 = new Uint16Array(buffer);
    context.u32 = new Uint32Array(buffer);
    context.f16 = new Float16Array(buffer);
    context.f32 = new Float32Array(buffer);
    context.f64 = new Float64Array(buffer);
  }
  view();
  return context;
}
