// The type of one figure of a record: where it comes from, which values it has, and how tables print it.

/** The values that a figure can have. */
export interface ValueType<Value> {
  /** What messages call such a value. */
  readonly name: string;
  /** Checks a value that was read from a file. */
  readonly has: (value: unknown) => value is Value;
}

/** How tables and charts show a figure. */
export interface Column {
  readonly title: string;
  /** The width that most cells need. */
  readonly width: number;
  /** How numbers are rounded: to four significant digits, or to so many decimals. Without it, they are printed whole. */
  readonly digits?: "significant" | number;
  /** The unit of the printed number: a fraction is printed in percent, bytes in MiB. */
  readonly unit?: "percent" | "MiB";
  /** What is printed for null. The default is "-". */
  readonly none?: string;
  /** Text is aligned left, numbers right. */
  readonly align?: "left";
  /** Whether tables that describe the whole configuration always show the column. */
  readonly usual?: true;
  /** Whether only a GPU has the figure. */
  readonly gpuOnly?: true;
  /** Whether tables show the column only if it is asked for. */
  readonly onRequest?: true;
  /** Narrow tables keep the columns of the lowest rank. Without a rank, the column is always kept. */
  readonly rank?: number;
  /** The title of the axis, for sizes that charts can be drawn along. */
  readonly axis?: string;
  /** The usual value, which headings and names of series leave out. */
  readonly standard?: string | number | null;
  /** The value in words, in the name of a chart's series. The default is the value. */
  readonly words?: (value: unknown) => string;
}

/** Where a figure comes from. A failed run has null for its results. */
export type Kind = "outcome" | "job" | "place" | "result" | "provenance";

/** One figure of a record. */
export interface Figure<Value, Of extends Kind = Kind> {
  readonly kind: Of;
  readonly type: ValueType<Value>;
  readonly column?: Column | undefined;
  /** Whether `compare` points out that two files differ in it. */
  readonly mustAgree?: boolean | undefined;
}

/** What happened to the configuration. */
export function outcome<Value>(type: ValueType<Value>): Figure<Value, "outcome"> {
  return { kind: "outcome", type };
}

/** A part of the configuration: two records that differ in it are never compared. */
export function job<Value>(type: ValueType<Value>, column: Column): Figure<Value, "job"> {
  return { kind: "job", type, column };
}

/** Where the job ran. It is part of the configuration where a file has several places. */
export function place<Value>(type: ValueType<Value>, column: Column): Figure<Value, "place"> {
  return { kind: "place", type, column, mustAgree: true };
}

/** What the run found. */
export function result<Value>(type: ValueType<Value>, column?: Column): Figure<Value, "result"> {
  return { kind: "result", type, column };
}

/** The circumstances of the run. */
export function provenance<Value>(
  type: ValueType<Value>,
  { mustAgree = false }: { readonly mustAgree?: boolean } = {},
): Figure<Value, "provenance"> {
  return { kind: "provenance", type, mustAgree };
}

/** Text. */
export const text: ValueType<string> = { name: "text", has: (value) => typeof value === "string" };

/** A finite number. */
export const number: ValueType<number> = { name: "a number", has: isNumber };

/** An integer from 0 on. */
export const count: ValueType<number> = {
  name: "an integer from 0 on",
  has: (value): value is number => Number.isSafeInteger(value) && value as number >= 0,
};

/** An integer from 1 on. */
export const size: ValueType<number> = {
  name: "an integer from 1 on",
  has: (value): value is number => count.has(value) && value >= 1,
};

/** A number above 0. */
export const positive: ValueType<number> = {
  name: "a number above 0",
  has: (value): value is number => isNumber(value) && value > 0,
};

/** An integer that may need more than 53 bits. */
export const integer: ValueType<number | bigint> = {
  name: "an integer",
  has: (value): value is number | bigint => typeof value === "bigint" || Number.isInteger(value),
};

/** True or false. */
export const flag: ValueType<boolean> = { name: "true or false", has: (value) => typeof value === "boolean" };

/** A finite number, or a word. */
export function numberOr<Word extends string>(word: Word): ValueType<number | Word> {
  return {
    name: `a number, or "${word}"`,
    has: (value): value is number | Word => isNumber(value) || value === word,
  };
}

/** One of some words or numbers. */
export function oneOf<Word extends string | number>(...words: readonly Word[]): ValueType<Word> {
  return {
    name: words.length === 1 ? JSON.stringify(words[0]) : `one of ${words.map((word) => `"${word}"`).join(", ")}`,
    has: (value): value is Word => words.some((word) => word === value),
  };
}

/** A list of values of one type. */
export function list<Value>(item: ValueType<Value>): ValueType<readonly Value[]> {
  return {
    name: `a list, each item ${item.name}`,
    has: (value): value is readonly Value[] => Array.isArray(value) && value.every(item.has),
  };
}

/** Two numbers, the lower one first. */
export const interval: ValueType<readonly [number, number]> = {
  name: "two numbers, the lower one first",
  has: (value): value is readonly [number, number] =>
    list(number).has(value) && value.length === 2 && Number(value[0]) <= Number(value[1]),
};

/** The time of one kernel of a call. */
export interface ProfiledKernel {
  readonly kernel: string;
  readonly milliseconds: number;
  /** The time that its operations or its bytes need at the peak rates; null if these are unknown. */
  readonly floorMs: number | null;
  readonly flops: number;
  readonly bytes: number;
}

/** The time of one kernel of a call. */
export const profiledKernel: ValueType<ProfiledKernel> = {
  name: "a kernel with its times, operations and bytes",
  has: (value): value is ProfiledKernel => {
    if (typeof value !== "object" || value === null) return false;
    const { kernel, milliseconds, floorMs, flops, bytes }: Partial<Record<keyof ProfiledKernel, unknown>> = value;
    return text.has(kernel) && [milliseconds, flops, bytes].every(number.has) && orNull(number).has(floorMs);
  },
};

/** A value that a run may leave unknown. */
export function orNull<Value>(type: ValueType<Value>): ValueType<Value | null> {
  return {
    name: `${type.name}, or null`,
    has: (value): value is Value | null => value === null || type.has(value),
  };
}

function isNumber(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value);
}
