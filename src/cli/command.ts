import type { Flags, FlagValues } from "./flags.ts";

/** A command of the tool. */
export interface Command<Specs extends Flags = Flags> {
  /** What it takes. */
  readonly flags: Specs;
  /** Words it takes besides flags, for help: how many is for `run` to check. */
  readonly operands?: string;
  /** More to know, as lines of text. */
  readonly details?: readonly string[];
  /** Command lines that help shows, each with what it is for. */
  readonly examples: Readonly<Record<string, string>>;
  /** Does it, and returns the exit code. */
  run(values: FlagValues<Specs>, operands: readonly string[], commands: CommandTable): Promise<number>;
}

/** A command before it is loaded. */
export interface CommandEntry {
  /** What it does, one line. */
  readonly summary: string;
  /** Loads it. */
  load(): Promise<{ default: Command }>;
}

/** The commands by name. */
export type CommandTable = Readonly<Record<string, CommandEntry>>;

/** Lets the flags' types reach `run`. */
export function command<Specs extends Flags>(command: Command<Specs>): Command<Specs> {
  return command;
}

/** What the process ends with. */
export const exitCode = { done: 0, failed: 1, usage: 2, unavailable: 3, interrupted: 130 } as const;

/** Writes a line of data. */
export function printData(line: string): void {
  writeData(`${line}\n`);
}

/** Writes data as it is. Where nobody reads any more, the process ends. */
export function writeData(text: string): void {
  const bytes = new TextEncoder().encode(text);
  try {
    for (let written = 0; written < bytes.length;) written += Deno.stdout.writeSync(bytes.subarray(written));
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) Deno.exit(exitCode.done);
    throw error;
  }
}

/** Writes a line for people. */
export function printNote(line: string): void {
  console.error(line);
}
