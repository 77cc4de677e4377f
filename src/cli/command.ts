import type { Flags, FlagValues } from "./flags.ts";

/** A command of the tool. */
export interface Command<Specs extends Flags = Flags> {
  /** What it does, one line. */
  readonly summary: string;
  /** What it takes. */
  readonly flags: Specs;
  /** Command lines that help shows, each with what it is for. */
  readonly examples: Readonly<Record<string, string>>;
  /** Does it, and returns the exit code. */
  run(values: FlagValues<Specs>): Promise<number>;
}

/** Lets the flags' types reach `run`. */
export function command<Specs extends Flags>(command: Command<Specs>): Command<Specs> {
  return command;
}

/** What the process ends with. */
export const exitCode = { done: 0, failed: 1, usage: 2, unavailable: 3, interrupted: 130 } as const;

/** Writes a line of data. */
export function printData(line: string): void {
  console.log(line);
}

/** Writes a line for people. */
export function printNote(line: string): void {
  console.error(line);
}
