// What the terminal can show. The variables of the environment count where reading them is permitted.
import { writeStderr } from "./streams.ts";

/** Whether a text on this stream may have colors: on a terminal that has them, unless NO_COLOR is set. */
export function showsColors(stream: { isTerminal(): boolean }): boolean {
  return stream.isTerminal() && !Deno.noColor && variable("TERM") !== "dumb";
}

/** Whether a line on this stream can be overwritten: on a terminal that a person looks at. */
export function showsProgress(stream: { isTerminal(): boolean }): boolean {
  return stream.isTerminal() && variable("TERM") !== "dumb" && !variable("CI");
}

/** A line on standard error that the next one overwrites. */
export class StatusLine {
  #shown = "";

  /** Shows a text instead of the one before. It is shorter than the terminal is wide. */
  show(text: string): void {
    if (text === this.#shown) return;
    // Spaces remove the rest of a longer text on every terminal. An escape sequence would not on a dumb one.
    writeStderr(`\r${text.padEnd(this.#shown.length)}${text === "" ? "\r" : ""}`);
    this.#shown = text;
  }
}

function variable(name: string): string | undefined {
  const { state } = Deno.permissions.querySync({ name: "env", variable: name });
  return state === "granted" ? Deno.env.get(name) : undefined;
}
