// A progress bar on standard error, if that is a terminal.
import { noteWidth } from "./command.ts";
import { showsProgress, StatusLine } from "./terminal.ts";

const maximumBar = 30;

/** Shows the progress of a phase. Silent without a terminal, and where TERM is `dumb` or CI is set. */
export class ProgressBar implements Disposable {
  readonly #visible: boolean;
  readonly #line = new StatusLine();
  #phase = "";
  #start = 0;

  constructor(quiet = false) {
    this.#visible = !quiet && showsProgress(Deno.stderr);
  }

  /** Shows a phase at a fraction from 0 to 1. */
  show(phase: string, fraction: number): void {
    if (!this.#visible) return;
    if (phase !== this.#phase) {
      this.#phase = phase;
      this.#start = performance.now();
    }
    const elapsed = (performance.now() - this.#start) / 1000;
    const left = fraction > 0.02 ? `, ${(elapsed / fraction - elapsed).toFixed(0)} s left` : "";
    const name = phase.padEnd(10),
      rest = `${(fraction * 100).toFixed(0).padStart(3)} %  ${elapsed.toFixed(0)} s${left}`;
    // A line that reaches the end of the terminal's width wraps, and then cannot be overwritten.
    const width = noteWidth() - 1, room = width - name.length - rest.length - 2;
    const cells = Math.max(0, Math.min(maximumBar, room)), full = Math.round(fraction * cells);
    this.#line.show(`${name} ${"█".repeat(full)}${"░".repeat(cells - full)} ${rest}`.slice(0, width));
  }

  /** Removes the bar. */
  [Symbol.dispose](): void {
    this.#line.show("");
  }
}
