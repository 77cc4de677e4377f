// Flags as data: what a command takes, how help shows it, how its text becomes a value.
import { parseArgs } from "@std/cli/parse-args";
import { closestString } from "@std/text/closest-string";

/** One flag of a command. */
export interface Flag<Value> {
  /** What stands for the value in help; absent for a switch. */
  readonly value?: string;
  /** What it does, one line. */
  readonly summary: string;
  /** Whether it takes several values: a comma list, a range, or the flag again. See {@linkcode axes}. */
  readonly list?: boolean;
  /** The words it can be, where those are few. */
  readonly words?: readonly string[];
  /** A letter that stands for the name, after one dash. */
  readonly short?: string;
  /** Whether it is the path of a file. */
  readonly file?: boolean;
  /** Turns the text into the value, or throws an `Error` that says what was expected. */
  parse(text: string): Value;
}

/** The flags of a command, by name without dashes. */
export type Flags = Readonly<Record<string, Flag<unknown>>>;

/** A flag that takes several values. */
export type Axis<Spec extends Flag<unknown>> = Spec & { readonly list: true };

/** The values of the flags that were given. */
export type FlagValues<Specs extends Flags> = {
  -readonly [Name in keyof Specs]?: Specs[Name] extends { list: true } ? ReturnType<Specs[Name]["parse"]>[]
    : ReturnType<Specs[Name]["parse"]>;
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
    words,
    parse(text) {
      const word = words.find((word) => word === text);
      if (word !== undefined) return word;
      const listed = words.map((word) => `"${word}"`).join(", ");
      throw new Error(`one of ${listed} (the nearest is "${closestString(text, words)}")`);
    },
  };
}

/** A flag for a positive number, fractions too, in some unit. */
export function positive(value: string, summary: string): Flag<number> {
  return {
    value,
    summary,
    parse(text) {
      if (/^(\d+\.?\d*|\.\d+)$/.test(text) && Number(text) > 0) return Number(text);
      throw new Error("a number above 0");
    },
  };
}

/** A flag for the path of a file. */
export function file(value: string, summary: string): Flag<string> {
  return { value, summary, file: true, parse: (text) => text };
}

/** A flag for any text. */
export function text(value: string, summary: string): Flag<string> {
  return { value, summary, parse: (given) => given };
}

/** Lets a flag take several values. */
export function axis<Spec extends Flag<unknown>>(flag: Spec): Axis<Spec> {
  return { ...flag, list: true };
}

/** Lets each of the flags take several values. */
export function axes<Specs extends Flags>(flags: Specs): { readonly [Name in keyof Specs]: Axis<Specs[Name]> } {
  const entries = Object.entries(flags).map(([name, flag]) => [name, axis(flag)]);
  return Object.fromEntries(entries);
}

/** A flag without a value. */
export function toggle(summary: string): Flag<true> {
  return { summary, parse: () => true };
}

/** A command line, read. */
export interface CommandLine<Specs extends Flags> {
  /** The flags that were given. */
  readonly values: FlagValues<Specs>;
  /** The words that are no flags. */
  readonly operands: readonly string[];
}

/**
 * Reads a command line.
 *
 * @param args The words after the command.
 * @param flags The flags there are.
 * @param operands Whether the command takes words besides.
 * @throws {UsageError} For an unknown flag, a missing, superfluous or bad value, a flag given twice, or a stray word.
 */
export function parseFlags<Specs extends Flags>(
  args: readonly string[],
  flags: Specs,
  operands = false,
): CommandLine<Specs> {
  const names = Object.keys(flags);
  const switches = names.filter((name) => flags[name]!.value === undefined);
  const valued = names.filter((name) => flags[name]!.value !== undefined);
  for (const name of switches) {
    if (args.some((arg) => arg.startsWith(`--${name}=`))) throw new UsageError(`--${name} takes no value`);
  }
  const parsed = parseArgs(joinOddValues(args, valued), {
    boolean: switches,
    string: ["_", ...valued],
    collect: names,
    alias: Object.fromEntries(names.flatMap((name) => flags[name]!.short ? [[name, flags[name]!.short!]] : [])),
    "--": true,
    unknown: (text) => {
      if (text.startsWith("-") && text !== "-") throw new UsageError(unknownFlag(text, names));
      if (!operands) throw new UsageError(`Cannot understand the word "${text}"`);
      return true;
    },
  });
  const [stray] = parsed["--"] as string[];
  if (stray !== undefined) throw new UsageError(`Cannot understand the word "${stray}"`);

  const values: Record<string, unknown> = {};
  for (const name of names) {
    const given = parsed[name] as (string | boolean)[];
    if (given.length === 0) continue;
    const flag = flags[name]!;
    if (flag.value !== undefined && given.includes("")) throw new UsageError(`--${name} needs a value`);
    const texts = flag.list ? given.flatMap((text) => listed(name, String(text))) : given.map(String);
    if (texts.length > 1 && !flag.list) throw new UsageError(`--${name} was given ${texts.length} times`);
    const parsedValues = texts.map((text) => parseValue(name, flag, text));
    values[name] = flag.list ? parsedValues : parsedValues[0];
  }
  return { values: values as FlagValues<Specs>, operands: parsed._.map(String) };
}

function parseValue(name: string, flag: Flag<unknown>, text: string): unknown {
  try {
    return flag.parse(text);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    throw new UsageError(`--${name} must be ${error.message}, got "${text}"`);
  }
}

/** The most values that one range may stand for. */
const maxRange = 10_000;

/** The values of a list, ranges written out: `1,4` is two, `1..4` four, `1..9+4` three, `1..64*2` seven. */
function listed(name: string, text: string): string[] {
  return text.split(",").flatMap((part) => {
    const range = part.match(/^(\d+)\.\.(\d+)(?:([*+])(\d+))?$/);
    if (!range) return [part];
    const [first, last, step] = [range[1], range[2], range[4] ?? 1].map(Number) as [number, number, number];
    const multiply = range[3] === "*";
    if (!Number.isSafeInteger(last) || first > last || step < (multiply ? 2 : 1) || (multiply && first === 0)) {
      throw new UsageError(`--${name} takes ranges such as 1..8, 1..9+4 or 1..64*2, got "${part}"`);
    }
    const values: string[] = [];
    for (let value = first; value <= last; value = multiply ? value * step : value + step) {
      values.push(`${value}`);
      if (values.length <= maxRange) continue;
      throw new UsageError(`--${name} takes ranges of at most ${maxRange} values, got "${part}"`);
    }
    return values;
  });
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
