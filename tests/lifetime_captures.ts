// The captured calls of a random program, for the lifetime tests.
import type { Backend, BackendTensor, Captured } from "../mod.ts";
import type { Call, Value } from "./lifetime_values.ts";
import type { SmallRandom } from "./small_random.ts";

interface Capture {
  readonly captured: Captured<readonly BackendTensor[]>;
  readonly used: readonly Value[];
  readonly results: readonly Value[];
}

/** The captured calls that are not disposed. Until then, the program must not write their inputs and results. */
export class ProgramCaptures {
  readonly #live: Capture[] = [];

  /** Captures calls. Returns their results. */
  async capture(backend: Backend, calls: readonly Call[]): Promise<readonly Value[]> {
    const used = calls.flatMap((call) => call.used);
    for (const value of used) value.users += 1;
    const results: Value[] = [];
    const captured = await backend.capture(async () => {
      const made: BackendTensor[] = [];
      for (const { run, expected } of calls) {
        const tensors = await run();
        made.push(...tensors);
        const contents = tensors.length > 0 ? expected() : [];
        // A replay on the CPU runs this again, with tensors that are disposed after it.
        results.push(...tensors.map((tensor, i) => ({ tensor, content: contents[i], users: 1, isDisposed: false })));
      }
      return made;
    });
    const live = { captured, used, results: results.slice() };
    this.#live.push(live);
    return live.results;
  }

  /** Replays random captured calls once or twice. */
  async replay(random: SmallRandom): Promise<void> {
    const captured = random.pick(this.#live)?.captured;
    const replays = captured ? [captured.replay(), ...random.chance(1 / 2) ? [captured.replay()] : []] : [];
    await Promise.all(replays);
  }

  /** Disposes random captured calls, perhaps twice. */
  dispose(random: SmallRandom): void {
    const capture = random.pick(this.#live);
    if (!capture) return;
    this.#live.splice(this.#live.indexOf(capture), 1);
    capture.captured[Symbol.dispose]();
    if (random.chance(1 / 4)) capture.captured[Symbol.dispose]();
    for (const value of capture.used) value.users -= 1;
    for (const value of capture.results) value.isDisposed = true;
  }

  /** Disposes all captured calls. */
  end(random: SmallRandom): void {
    while (this.#live.length > 0) this.dispose(random);
  }
}
