// What the backends share for `capture`: which calls and tensors belong to a captured function, and what it may not do.
import { AsyncLocalStorage } from "node:async_hooks";
import type { BackendTensor } from "../tensor/backend_tensor.ts";
import { formatShape } from "../tensor/tensor.ts";

/** A tensor that a captured function can make. */
export interface CapturedTensor extends BackendTensor {
  readonly isDisposed: boolean;
}

/** A run of a captured function, with what the backend keeps of it. */
interface Run<Recording> {
  readonly recording: Recording;
  /** The tensors that were made in this run. */
  readonly made: Set<CapturedTensor>;
  hasEnded: boolean;
}

/** What a run of a captured function returned. */
export interface CapturedRun<Result> {
  readonly result: Result;
  /** The tensors in the result that this run made, in order. */
  readonly tensors: readonly CapturedTensor[];
}

/**
 * The captures of one backend. Every tensor of the backend has this object as its owner and reports to it.
 *
 * @typeParam Recording What the backend keeps of a captured function.
 */
export class Captures<Recording extends object> {
  readonly #runs = new AsyncLocalStorage<Run<Recording> | undefined>();

  /**
   * The recording of the captured function that is running, if the caller belongs to one.
   *
   * @throws {TypeError} If the function has ended without waiting for the caller.
   */
  get recording(): Recording | undefined {
    const run = this.#runs.getStore();
    if (run?.hasEnded) {
      throw new TypeError("Cannot continue a call of a captured function that has ended: it must await all its calls");
    }
    return run?.recording;
  }

  /** Refuses an action that a replay cannot repeat. */
  refuse(action: string): void {
    if (this.recording) throw new TypeError(`Cannot ${action} inside a captured function: a replay cannot repeat it`);
  }

  /** Called by a new tensor. */
  made(tensor: CapturedTensor): void {
    this.#runs.getStore()?.made.add(tensor);
  }

  /** Called by a tensor before it is disposed. */
  disposing(tensor: CapturedTensor): void {
    const run = this.#runs.getStore();
    if (run && !run.hasEnded && !run.made.has(tensor)) {
      throw new TypeError(
        "Cannot dispose a tensor inside a captured function that did not make it: a replay needs the tensor again",
      );
    }
  }

  /** Calls a function whose tensors do not belong to the captured function that is running. */
  outside<Result>(call: () => Result): Result {
    return this.#runs.run(undefined, call);
  }

  /** Whether a tensor was made by the captured function that is running. */
  isInside(tensor: CapturedTensor): boolean {
    return this.#runs.getStore()?.made.has(tensor) ?? false;
  }

  /**
   * Runs a captured function. If it fails, disposes the tensors that it made.
   *
   * @throws {TypeError} If the function leaves a tensor that it neither returned nor disposed.
   */
  async run<Result>(recording: Recording, captured: () => Promise<Result>): Promise<CapturedRun<Result>> {
    const run: Run<Recording> = { recording, made: new Set(), hasEnded: false };
    try {
      const result = await this.#runs.run(run, captured);
      const tensors = [...tensorsOf(result, run.made, new Set())];
      const left = [...run.made].filter((tensor) => !tensor.isDisposed && !tensors.includes(tensor));
      if (left[0]) {
        throw new TypeError(
          `Cannot capture a function that neither returns nor disposes the tensors that it makes: ` +
            `it left ${left.map(({ dtype, shape }) => `${formatShape(shape)} of ${dtype}`).join(", ")}`,
        );
      }
      if (tensors.some(({ isDisposed }) => isDisposed)) {
        throw new TypeError("Cannot capture a function that returns a disposed tensor");
      }
      return { result, tensors };
    } catch (error) {
      run.hasEnded = true;
      for (const tensor of run.made) tensor[Symbol.dispose]();
      throw error;
    } finally {
      run.hasEnded = true;
    }
  }
}

/** Finds tensors in a result: the result itself, or the members of arrays and objects, which may refer to each other. */
function* tensorsOf(value: unknown, made: ReadonlySet<unknown>, seen: Set<unknown>): Iterable<CapturedTensor> {
  if (typeof value !== "object" || value === null || seen.has(value)) return;
  seen.add(value);
  if (made.has(value)) yield value as CapturedTensor;
  else if (Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype) {
    for (const member of Object.values(value)) yield* tensorsOf(member, made, seen);
  }
}
