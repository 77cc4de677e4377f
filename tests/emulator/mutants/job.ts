// What a job is, and the helpers that jobs share.
import type { BackendTensor } from "../../../src/backend/backend.ts";
import { type CudaBackend, openCudaBackend } from "../../../src/cuda/backend.ts";
import type { Tensor } from "../../../src/tensor/tensor.ts";

/** A small computation whose results show whether a kernel has changed. */
export interface Job {
  readonly name: string;
  /** Runs the job on the emulator in a library and returns its results. */
  readonly run: (library: string) => Promise<readonly ArrayBufferView[]>;
  /** About how many accesses a thread runs before another thread goes on. By default a thread runs until it waits. */
  readonly preempt?: number;
  /** Of the order of threads. By default 0 and 1 in turn. */
  readonly seed?: number;
  /** How many tickets a block takes, unless it is the last one. By default the first block takes all. */
  readonly tickets?: number;
}

const backends = new Map<number | undefined, Promise<CudaBackend>>();

/** Returns the backend with tiles of so many rows. Backends stay open, because opening one takes longer than most jobs. */
export function backendOf(library: string, tileRows?: number): Promise<CudaBackend> {
  const backend = backends.get(tileRows) ?? openCudaBackend({ library, tileRows });
  backends.set(tileRows, backend);
  return backend;
}

/** A tensor's bytes, copied out of shared memory. */
export function bytes({ data }: Tensor): ArrayBufferView {
  return data.slice();
}

/** Makes a job that uploads tensors, runs a step on the device and downloads all its results. */
export function stepJob(
  name: string,
  tensors: () => readonly Tensor[],
  step: (ops: CudaBackend["ops"], ...tensors: BackendTensor[]) => Promise<object>,
): Job {
  return {
    name,
    run: async (library) => {
      const backend = await backendOf(library);
      using scope = new DisposableStack();
      const results = await step(backend.ops, ...tensors().map((tensor) => scope.use(backend.upload(tensor))));
      const outputs = (Symbol.dispose in results ? [results] : Object.values(results)).filter(
        Boolean,
      ) as BackendTensor[];
      const out: ArrayBufferView[] = [];
      for (const tensor of outputs) out.push(bytes(await backend.download(scope.use(tensor))));
      return out;
    },
  };
}
