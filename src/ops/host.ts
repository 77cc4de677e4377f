// What the ops on host tensors have in common.
import type { Backend, BackendTensor } from "../backend/backend.ts";
import { checkTensor, type Tensor } from "../tensor/tensor.ts";

/** Where an op runs. */
export interface OpOptions {
  /** An open backend. Without one, a CPU backend is opened for this call and closed after it. */
  readonly backend?: Backend | undefined;
}

/** Uploads tensors, runs an op on them and downloads what it returns, by name. */
export async function onBackend<Name extends string>(
  backend: Backend | undefined,
  tensors: readonly Tensor[],
  run: (backend: Backend, tensors: BackendTensor[]) => Promise<Record<Name, BackendTensor>>,
): Promise<Record<Name, Tensor>> {
  if (!backend) {
    const { openBackend } = await import("../open_backend.ts");
    using own = await openBackend("cpu", { threads: 1 });
    return await onBackend(own, tensors, run);
  }
  using scope = new DisposableStack();
  const results = Object.entries(await run(backend, tensors.map((tensor) => scope.use(backend.upload(tensor)))));
  for (const [, result] of results) scope.use(result as BackendTensor);
  const copies = results.map(async ([name, result]) => [name, await backend.download(result as BackendTensor)]);
  return Object.fromEntries(await Promise.all(copies));
}

/** Checks that tensors are well-formed. */
export function checkTensors(tensors: Readonly<Record<string, Tensor>>): void {
  for (const [name, tensor] of Object.entries(tensors)) checkTensor(name, tensor);
}

/** Checks that integers lie from 0 to below a bound. */
export function checkBelow(name: string, { data }: Tensor, bound: number): void {
  const at = data.findIndex((value) => !(value >= 0 && value < bound));
  if (at < 0) return;
  throw new RangeError(`${name} must hold integers from 0 to ${bound - 1}, got ${data[at]} at element ${at}`);
}

/** Checks that numbers could be the running sum of counts of so many things. */
export function checkCumsum({ data }: Tensor, most: number): void {
  let previous = 0;
  for (const [at, value] of data.entries()) {
    if (value < previous || value > most) {
      throw new RangeError(
        `cumsum must hold integers that never fall and are at most ${most}, got ${value} at element ${at}`,
      );
    }
    previous = value;
  }
}
