// Flags as data: what a command takes, how help shows it, how its text becomes a value.
import { parseArgs } from "@std/cli/parse-args";
import { closestString } from "@std/text/closest-string";

/** One flag of a command. */
export interface Flag<Value> {
  /** What stands for the value in help; absent for a switch. */
  readonly value?: string;
  /** What it does, one line. */
  readonly summary: string;
  /** Turns the text into the value, or throws an `Error` that says what was expected. */
  parse(text: string): Value;
}

/** The flags of a command, by name without dashes. */
export type Flags = Readonly<Record<string, Flag<unknown>>>;

/** The values of the flags that were given. */
export type FlagValues<Specs extends Flags> = {
  -readonly [Name in keyof Specs]?: ReturnType<Specs[Name]["parse"]>;
};

/** Thrown for a command line that cannot be followed. The message is one line. */
export class UsageError extends Error {
  override name = "UsageError";
}

/** A flag for an integer. */
export function integer(value: string, summary: string, min: number, max: number): Flag<number> {
  return {
    value,
    summary,
    parse(text) {
      const number = Number(text);
      if (/^\d+$/.test(text) && number >= min && number <= max) return number;
      throw new Error(`an integer from ${min} to ${max}`);
    },
  };
}

/** A flag for one of several words. */
export function choice<Word extends string>(value: string, summary: string, words: readonly Word[]): Flag<Word> {
  return {
    value,
    summary,
    parse(text) {
      const word = words.find((word) => word === text);
      if (word !== undefined) return word;
      const listed = words.map((word) => `"${word}"`).join(", ");
      throw new Error(`one of ${listed} (the nearest is "${closestString(text, words)}")`);
    },
  };
}

/** A flag without a value. */
export function toggle(summary: string): Flag<true> {
  return { summary, parse: () => true };
}

/**
 * Reads a command line.
 *
 * @throws {UsageError} For an unknown flag, a missing, superfluous or bad value, a flag given twice, or a stray word.
 */
export function parseFlags<Specs extends Flags>(args: readonly string[], flags: Specs): FlagValues<Specs> {
  const names = Object.keys(flags);
  const switches = names.filter((name) => flags[name]!.value === undefined);
  const valued = names.filter((name) => flags[name]!.value !== undefined);
  for (const name of switches) {
    if (args.some((arg) => arg.startsWith(`--${name}=`))) throw new UsageError(`--${name} takes no value`);
  }
  const parsed = parseArgs(joinOddValues(args, valued), {
    boolean: switches,
    string: valued,
    collect: names,
    "--": true,
    unknown: (text) => {
      throw new UsageError(text.startsWith("-") ? unknownFlag(text, names) : `Cannot understand the word "${text}"`);
    },
  });
  const [stray] = parsed["--"] as string[];
  if (stray !== undefined) throw new UsageError(`Cannot understand the word "${stray}"`);

  const values: Record<string, unknown> = {};
  for (const name of names) {
    const given = parsed[name] as (string | boolean)[];
    if (given.length === 0) continue;
    if (given.length > 1) throw new UsageError(`--${name} was given ${given.length} times`);
    if (flags[name]!.value !== undefined && given[0] === "") throw new UsageError(`--${name} needs a value`);
    try {
      values[name] = flags[name]!.parse(String(given[0]));
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      throw new UsageError(`--${name} must be ${error.message}, got "${given[0]}"`);
    }
  }
  return values as FlagValues<Specs>;
}

/** `--batch -1` means the value -1, for which the parser wants `--batch=-1`; `--batch ""` means an empty one. */
function joinOddValues(args: readonly string[], valued: readonly string[]): string[] {
  const joined: string[] = [];
  for (const arg of args) {
    const last = joined.at(-1) ?? "";
    if (/^(-[\d.]|$)/.test(arg) && last.startsWith("--") && valued.includes(last.slice(2))) {
      joined.push(`${joined.pop()}=${arg}`);
    } else joined.push(arg);
  }
  return joined;
}

function unknownFlag(text: string, names: readonly string[]): string {
  const flag = text.split("=", 1)[0]!;
  return `Unknown flag "${flag}"; the nearest is "--${closestString(flag.replace(/^-+/, ""), names)}"`;
}
