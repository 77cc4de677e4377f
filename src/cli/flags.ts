// Flags as data: parsing, help and completions derive from one table per command.
import { parseArgs } from "@std/cli/parse-args";
import { suggestion } from "./suggestion.ts";
import { UsageError } from "./usage_error.ts";
import { listed } from "./value_list.ts";

/** One flag of a command. */
export interface Flag<Value> {
  /** The placeholder of the value in help. A switch has none. */
  readonly value?: string;
  /** What the flag does, in one line. */
  readonly summary: string;
  /** Whether the flag takes several values: a comma-separated list, a range, or the flag again. See {@linkcode axes}. */
  readonly list?: boolean;
  /** The number of values that follow the flag, if it is not one. They become a list. */
  readonly arity?: number;
  /** The possible values, if they are few. */
  readonly words?: readonly string[];
  /** Whether `words` are examples, and other values are possible too. */
  readonly openWords?: boolean;
  /** A letter that can be used instead of the name, after one dash. */
  readonly short?: string;
  /** Whether the value is the path of a file. */
  readonly file?: boolean;
  /** Converts the text to the value, or throws an {@linkcode ExpectationError}. */
  parse(text: string): Value;
}

/** Thrown for a value that is not valid. The message is what was expected, such as "a number above 0". */
export class ExpectationError extends Error {
  /** The end of the message, if the text resembles a valid value. */
  readonly suggestion: string;

  constructor(expected: string, suggestion = "") {
    super(expected);
    this.suggestion = suggestion;
  }
}

/** The flags of a command, by name without dashes. */
export type Flags = Readonly<Record<string, Flag<unknown>>>;

/** A flag that takes several values. */
export type Axis<Spec extends Flag<unknown>> = Spec & { readonly list: true };

/** The values of the flags that were given. */
export type FlagValues<Specs extends Flags> = {
  -readonly [Name in keyof Specs]?: Specs[Name] extends { list: true } | { arity: number }
    ? ReturnType<Specs[Name]["parse"]>[]
    : ReturnType<Specs[Name]["parse"]>;
};

/** The range of a number. */
export interface Limits {
  readonly integer?: true;
  readonly min?: number;
  readonly max?: number;
  /** The number must be above this. */
  readonly above?: number;
}

/** Makes a flag for a number. */
export function number(value: string, summary: string, limits: Limits = {}): Flag<number> {
  const { integer = false, min = -Infinity, max = Infinity, above = -Infinity } = limits;
  const pattern = integer ? /^[+-]?\d+$/ : /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
  const range = above > -Infinity ? ` above ${above}` : min > -Infinity ? ` from ${min} to ${max}` : "";
  return {
    value,
    summary,
    parse(text) {
      const number = Number(text);
      const fits = Number.isFinite(number) && number >= min && number <= max && number > above;
      if (pattern.test(text) && fits) return number;
      throw new ExpectationError(`${integer ? "an integer" : "a number"}${range}`);
    },
  };
}

/** Makes a flag for an integer. */
export function integer(value: string, summary: string, min: number, max: number): Flag<number> {
  return number(value, summary, { integer: true, min, max });
}

/** Makes a flag for a number above 0. */
export function positive(value: string, summary: string): Flag<number> {
  return number(value, summary, { above: 0 });
}

/** Makes a flag that also takes "none", which becomes null. */
export function orNone<Value>(flag: Flag<Value>): Flag<Value | null> {
  return {
    ...flag,
    value: `${flag.value}|none`,
    parse(text) {
      if (text === "none") return null;
      try {
        return flag.parse(text);
      } catch (error) {
        throw error instanceof ExpectationError ? new ExpectationError(`${error.message}, or "none"`) : error;
      }
    },
  };
}

/** Makes a flag that also takes any text that is not a number. */
export function orText<Value>(flag: Flag<Value>, value: string, summary: string): Flag<Value | string> {
  return {
    ...flag,
    value: `${flag.value}|${value}`,
    summary,
    parse: (text) => /^[+-]?[\d.]+$/.test(text) ? flag.parse(text) : text,
  };
}

/** Makes a flag for one of several words. Help lists them all. */
export function choice<Word extends string>(value: string, summary: string, words: readonly Word[]): Flag<Word> {
  return {
    value,
    summary,
    words,
    parse(text) {
      const word = words.find((word) => word === text);
      if (word !== undefined) return word;
      throw new ExpectationError(`one of ${words.map((word) => `"${word}"`).join(", ")}`, suggestion(text, words));
    },
  };
}

/** Makes a flag for the path of a file. */
export function file(value: string, summary: string): Flag<string> {
  return { value, summary, file: true, parse: (text) => text };
}

/** Makes a flag for any text. */
export function text(value: string, summary: string): Flag<string> {
  return { value, summary, parse: (given) => given };
}

/** Makes a flag without a value. */
export function toggle(summary: string): Flag<true> {
  return { summary, parse: () => true };
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

/** A parsed command line. */
export interface CommandLine<Specs extends Flags> {
  /** The flags that were given. */
  readonly values: FlagValues<Specs>;
  /** The words that are not flags. */
  readonly operands: readonly string[];
}

/**
 * Parses a command line.
 *
 * @param args The words after the command.
 * @param flags The flags of the command.
 * @param operands Whether the command takes words that are not flags.
 * @throws {UsageError} If a flag is unknown or given twice, a value is missing, superfluous or wrong, or a word is unexpected.
 */
export function parseFlags<Specs extends Flags>(
  args: readonly string[],
  flags: Specs,
  operands = false,
): CommandLine<Specs> {
  const named: [name: string, flag: Flag<unknown>][] = Object.entries(flags);
  const names = Object.keys(flags);
  const switches = named.filter(([, { value }]) => value === undefined).map(([name]) => name);
  const valued = names.filter((name) => !switches.includes(name));
  for (const name of switches) {
    if (args.some((arg) => arg.startsWith(`--${name}=`))) throw new UsageError(`--${name} takes no value`);
  }
  const several = Object.fromEntries(named.flatMap(([name, { arity }]) => arity === undefined ? [] : [[name, arity]]));
  const letters = named.flatMap(([name, { short, value }]) => short && value !== undefined ? [[short, name]] : []);
  const parsed = parseArgs(joinOddValues(joinSeveral(args, several), valued, Object.fromEntries(letters)), {
    boolean: switches,
    string: ["_", ...valued],
    collect: names,
    alias: Object.fromEntries(named.flatMap(([name, { short }]) => short ? [[name, short]] : [])),
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
  for (const [name, flag] of named) {
    const given = parsed[name] as (string | boolean)[];
    if (given.length === 0) continue;
    if (flag.value !== undefined && flag.arity === undefined && given.includes("")) {
      throw new UsageError(`--${name} needs a value`);
    }
    if (flag.arity !== undefined) {
      values[name] = given.map((text) => parseValue(name, flag, String(text)));
      continue;
    }
    const texts = flag.list ? given.flatMap((text) => listed(name, String(text), flag.words)) : given.map(String);
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
    if (!(error instanceof ExpectationError)) throw error;
    throw new UsageError(`--${name} must be ${error.message}, got "${text}"${error.suggestion}`);
  }
}

/** Joins a flag with each of the values that follow it: `--ab A B` to `--ab=A` and `--ab=B`. */
function joinSeveral(args: readonly string[], several: Readonly<Record<string, number>>): string[] {
  const joined: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] ?? "", name = arg.slice(2), count = Object.hasOwn(several, name) ? several[name] : undefined;
    if (!arg.startsWith("--") || count === undefined) joined.push(arg);
    else {
      if (i + count >= args.length) throw new UsageError(`${arg} needs ${count} values`);
      joined.push(...args.slice(i + 1, i + 1 + count).map((value) => `${arg}=${value}`));
      i += count;
    }
  }
  return joined;
}

/**
 * The parser takes `--batch -1` for two flags, and `--batch ""` or `-o ""` for a flag without a value: joins them to
 * `--batch=-1` and `--output=`.
 */
function joinOddValues(
  args: readonly string[],
  valued: readonly string[],
  letters: Readonly<Record<string, string>>,
): string[] {
  const joined: string[] = [];
  for (const arg of args) {
    const last = joined.at(-1) ?? "";
    const name = last.startsWith("--") ? last.slice(2) : letters[last.replace(/^-/, "")];
    if (/^(-[\d.]|$)/.test(arg) && last.startsWith("-") && name !== undefined && valued.includes(name)) {
      joined.splice(-1, 1, `--${name}=${arg}`);
    } else joined.push(arg);
  }
  return joined;
}

function unknownFlag(text: string, names: readonly string[]): string {
  const [flag = text] = text.split("=", 1);
  return `Unknown flag "${flag}"${suggestion(flag.replace(/^-+/, ""), names, "--")}`;
}
