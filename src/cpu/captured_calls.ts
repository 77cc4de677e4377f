// Captured calls on the CPU: a replay calls the function again and copies its results.
import type { Captured } from "../backend/backend.ts";
import type { CapturedRun, Captures } from "../backend/captures.ts";
import { formatShape } from "../tensor/tensor.ts";
import type { CpuTensor } from "./tensor.ts";

/** What the CPU backend keeps of a captured function: the tensors from outside of it, which may be disposed. */
export class Recording implements Disposable {
  readonly #captures: Captures<Recording>;
  readonly #kept = new Map<CpuTensor, CpuTensor>();

  constructor(captures: Captures<Recording>) {
    this.#captures = captures;
  }

  /** Returns the tensor with which a run of the function computes in place of one that it uses. */
  keep(tensor: CpuTensor): CpuTensor {
    if (this.#captures.isInside(tensor)) return tensor;
    const kept = this.#kept.get(tensor) ?? this.#captures.outside(() => tensor.share());
    this.#kept.set(tensor, kept);
    return kept;
  }

  [Symbol.dispose](): void {
    for (const tensor of this.#kept.values()) tensor[Symbol.dispose]();
    this.#kept.clear();
  }
}

/** A captured function, with its memory. */
export class CapturedCalls<Result> implements Captured<Result> {
  readonly result: Result;
  readonly #captures: Captures<Recording>;
  readonly #recording: Recording;
  readonly #run: () => Promise<unknown>;
  readonly #tensors: readonly CpuTensor[];
  /** The memory of the result, which stays if the caller disposes a tensor of it. */
  readonly #targets: readonly CpuTensor[];
  readonly #owned = new DisposableStack();
  #last: Promise<void> = Promise.resolve();
  #running = 0;
  #isDisposed = false;

  /** Takes over the recording and the tensors of the first run. */
  constructor(
    captures: Captures<Recording>,
    recording: Recording,
    run: () => Promise<Result>,
    { result, tensors }: CapturedRun<Result>,
  ) {
    this.result = result;
    this.#captures = captures;
    this.#recording = this.#owned.use(recording);
    this.#run = run;
    this.#tensors = tensors as readonly CpuTensor[];
    this.#targets = this.#tensors.map((tensor) => this.#owned.use(tensor.share()));
  }

  replay(): Promise<void> {
    return Promise.try(() => {
      if (this.#isDisposed) throw new TypeError("Cannot replay a capture that is disposed");
      this.#captures.refuse("replay"); // it would wait for the run that waits for it
      this.#running += 1;
      const replayed = this.#last.then(() => this.#replay()).finally(() => {
        this.#running -= 1;
        this.#releaseUnused();
      });
      this.#last = replayed.catch(() => {}); // the caller of the failed replay handles the error
      return replayed;
    });
  }

  async #replay(): Promise<void> {
    const { tensors } = await this.#captures.run(this.#recording, this.#run);
    using results = new DisposableStack();
    for (const tensor of tensors) results.use(tensor);
    const describe = (tensors: readonly { dtype: string; shape: readonly number[] }[]) =>
      tensors.map(({ dtype, shape }) => `${formatShape(shape)} of ${dtype}`).join(", ") || "no tensor";
    const [expected, got] = [describe(this.#targets), describe(tensors)];
    if (expected !== got) {
      throw new TypeError(`Cannot replay: the captured function returned ${got}, but ${expected} when it was captured`);
    }
    for (const [i, target] of this.#targets.entries()) target.data.set((tensors[i] as CpuTensor).data);
  }

  /** Disposes the result, and the rest when the replays that were started have ended. A second call does nothing. */
  [Symbol.dispose](): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    for (const tensor of this.#tensors) tensor[Symbol.dispose]();
    this.#releaseUnused();
  }

  #releaseUnused(): void {
    if (this.#isDisposed && this.#running === 0) this.#owned[Symbol.dispose]();
  }
}
