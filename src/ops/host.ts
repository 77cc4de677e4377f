// What the ops on host tensors share.
import type { Backend, BackendTensor, PackedBackendTensor } from "../backend/backend.ts";
import { expectObject } from "../contract/checks.ts";
import { checkNames } from "../known_names.ts";
import { openBackend } from "../open_backend.ts";
import { isPacked, type PackedTensor } from "../tensor/packed_tensor.ts";
import { checkTensor, describeValue, type Tensor } from "../tensor/tensor.ts";

/** Where an op runs. */
export interface OpOptions {
  /** An open backend. By default, a CPU backend is opened for this call and closed after it. */
  readonly backend?: Backend | undefined;
}

/**
 * Checks that tensors are well-formed, and the options of an op that has no others.
 *
 * @throws {TypeError} If a tensor is malformed or an option is unknown.
 * @throws {RangeError} If a tensor's shape does not match its data.
 */
export function checkHost(tensors: Readonly<Record<string, Tensor>>, options?: OpOptions): void {
  for (const [name, tensor] of Object.entries(tensors)) checkTensor(name, tensor);
  if (options === undefined) return;
  expectObject("options", options);
  checkNames("options", options, ["backend"]);
}

/**
 * Runs a function on a backend.
 *
 * @param backend The backend; without one, a CPU backend is opened and closed again.
 * @param threads The threads of that CPU backend; by default all.
 * @throws {TypeError} If the value is not a backend.
 */
export async function withBackend<Result>(
  backend: Backend | undefined,
  threads: number | undefined,
  run: (backend: Backend) => Promise<Result>,
): Promise<Result> {
  if (backend === undefined) {
    using own = await openBackend("cpu", { threads });
    return await run(own);
  }
  if (typeof backend?.upload !== "function") {
    throw new TypeError(`backend must be an open backend (see openBackend), got ${describeValue(backend)}`);
  }
  return await run(backend);
}

/** Returns a function that uploads a weight, dense or packed. A scope owns the result. */
export function uploadWeight(
  backend: Backend,
  scope: DisposableStack,
): (weight: Tensor | PackedTensor) => BackendTensor | PackedBackendTensor {
  return (weight) => scope.use(isPacked<PackedTensor>(weight) ? backend.upload(weight) : backend.upload(weight));
}

/** Uploads tensors, runs an op on them and downloads its results, all by name. */
export function onBackend<Name extends string, Result extends string>(
  { backend }: OpOptions,
  tensors: Readonly<Record<Name, Tensor>>,
  op: (backend: Backend, tensors: Record<Name, BackendTensor>) => Promise<Record<Result, BackendTensor>>,
): Promise<Record<Result, Tensor>> {
  return withBackend(backend, 1, async (backend) => {
    using scope = new DisposableStack();
    const uploaded = Object.entries<Tensor>(tensors).map(([name, tensor]) => [name, scope.use(backend.upload(tensor))]);
    const results = Object.entries<BackendTensor>(await op(backend, Object.fromEntries(uploaded)));
    for (const [, result] of results) scope.use(result);
    const copies = results.map(async ([name, result]) => [name, await backend.download(result)]);
    return Object.fromEntries(await Promise.all(copies));
  });
}

/** Checks that all elements are integers from 0 to below a bound, so that there is none if the bound is 0. */
export function checkBelow(name: string, { data }: Tensor, bound: number): void {
  const at = data.findIndex((value) => !(value >= 0 && value < bound));
  if (at < 0) return;
  const expected = bound > 0 ? `hold integers from 0 to ${bound - 1}` : "be empty because there is nothing to select";
  throw new RangeError(`${name} must ${expected}, got ${data[at]} at element ${at}`);
}

/** Checks that elements can be the running sum of counts with a given total. */
export function checkCumsum({ data }: Tensor, total: number): void {
  let previous = 0;
  for (const [at, value] of data.entries()) {
    if (value < previous || value > total) {
      throw new RangeError(
        `cumsum must hold integers that never decrease and are at most ${total}, got ${value} at element ${at}`,
      );
    }
    previous = value;
  }
}
