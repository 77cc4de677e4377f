import { wrap } from "../report/wrap.ts";
import { printable } from "../text.ts";
import type { Flags, FlagValues } from "./flags.ts";
import { writeStderr, writeStdout } from "./streams.ts";

/** A command of the tool. */
export interface Command<Specs extends Flags = Flags> {
  /** The flags that it takes. */
  readonly flags: Specs;
  /** The words that it takes besides flags, as help shows them. `run` checks their number. */
  readonly operands?: string;
  /** Paragraphs that help shows below the flags. */
  readonly details?: readonly string[];
  /** Command lines that help shows, each with its purpose. */
  readonly examples: Readonly<Record<string, string>>;
  /** Runs the command and returns the exit code. */
  run(values: FlagValues<Specs>, operands: readonly string[], commands: CommandTable): Promise<number>;
}

/** A command that is not loaded yet. */
export interface CommandEntry {
  /** What the command does, in one line. */
  readonly summary: string;
  /** Loads the command. */
  load(): Promise<{ default: Command }>;
}

/** The commands by name. */
export type CommandTable = Readonly<Record<string, CommandEntry>>;

/** Infers the type of the values that `run` gets from the flags. */
export function command<Specs extends Flags>(command: Command<Specs>): Command<Specs> {
  return command;
}

/** The exit codes of the process. */
export const exitCode = { done: 0, failed: 1, usage: 2, unavailable: 3, interrupted: 130 } as const;

/** Writes a line of data to standard output. */
export function printData(line: string): void {
  writeData(`${line}\n`);
}

/** Writes data to standard output. Ends the process if nobody reads the data any more. */
export function writeData(text: string): void {
  try {
    writeStdout(text);
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) Deno.exit(exitCode.done);
    const reason = error instanceof Error ? error.message : error;
    throw new Error(`Cannot write to standard output: ${reason}`, { cause: error });
  }
}

/** Writes a note for people to standard error. Control characters, such as those of a file name, do not reach the terminal. */
export function printNote(note: string): void {
  const lines = note.split("\n").flatMap((line) => wrap(printable(line), noteWidth()));
  writeStderr(`${lines.join("\n")}\n`);
}

/** Returns the width of the terminal that shows standard output; infinite if it is not a terminal. */
export function outputWidth(): number {
  return terminalWidth(Deno.stdout);
}

/** Returns the width of the terminal that shows standard error; infinite if it is not a terminal. */
export function noteWidth(): number {
  return terminalWidth(Deno.stderr);
}

function terminalWidth(stream: { isTerminal(): boolean }): number {
  return stream.isTerminal() ? Deno.consoleSize().columns || Infinity : Infinity;
}
