// A progress bar on standard error, if that is a terminal.
import { writeStderr } from "./streams.ts";

const barWidth = 30;

/** Shows the progress of a phase. Silent without a terminal. */
export class ProgressBar implements Disposable {
  readonly #visible: boolean;
  #phase = "";
  #start = 0;
  #shown = "";

  constructor(quiet = false) {
    this.#visible = !quiet && Deno.stderr.isTerminal();
  }

  /** Shows a phase at a fraction from 0 to 1. */
  show(phase: string, fraction: number): void {
    if (!this.#visible) return;
    if (phase !== this.#phase) {
      this.#phase = phase;
      this.#start = performance.now();
    }
    const full = Math.round(fraction * barWidth);
    const elapsed = (performance.now() - this.#start) / 1000;
    const left = fraction > 0.02 ? `, ${(elapsed / fraction - elapsed).toFixed(0)} s left` : "";
    const bar = "█".repeat(full) + "░".repeat(barWidth - full);
    this.#write(
      `${phase.padEnd(10)} ${bar} ${(fraction * 100).toFixed(0).padStart(3)} %  ${elapsed.toFixed(0)} s${left}`,
    );
  }

  /** Removes the bar. */
  [Symbol.dispose](): void {
    if (this.#shown) this.#write("");
  }

  #write(text: string): void {
    if (text === this.#shown) return;
    this.#shown = text;
    writeStderr(`\r\x1b[K${text}`);
  }
}
