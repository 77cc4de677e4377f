// Reads JSON of a known form, in order. `JSON.parse` accepts two members of one name, rounds large integers, and builds any
// value. This scanner rejects the first two, and builds only what its caller reads.
import { quote } from "../text.ts";

/** The maximum depth of nested arrays and objects in a skipped value. */
const maxDepth = 64;

const nothing = /null/y;
const scalar = /true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;

/** A string without escapes and control characters. */
const plain = /"[ !#-\[\]-\uffff]*"/y;

/** Reads a text from its beginning. Throws if a value does not have the form that the caller reads. */
export class JsonScanner {
  readonly #text: string;
  readonly #error: (message: string) => Error;
  #at = 0;

  /**
   * @param text The whole text.
   * @param error Makes the error from a message like `character 3 must begin ":", got "}"`.
   */
  constructor(text: string, error: (message: string) => Error) {
    this.#text = text;
    this.#error = error;
  }

  /** Reads an object. Calls `member` with each key to read its value. Each key must be unique. */
  object(member: (key: string) => void): void {
    const keys = new Set<string>();
    this.#list("{", "}", () => {
      const at = this.#at;
      const key = this.string();
      if (keys.has(key)) throw this.#error(`the key at character ${at} occurs twice`);
      keys.add(key);
      this.#expect(":");
      member(key);
    });
  }

  /** Reads an array of at most `most` integers from 0 to 2^53 - 1. */
  integers(most: number): number[] {
    const values: number[] = [];
    this.#list("[", "]", () => {
      if (values.length === most) {
        throw this.#error(`character ${this.#at} must end a list of at most ${most} integers`);
      }
      values.push(this.#integer());
    });
    return values;
  }

  /** Reads a string of well-formed Unicode. */
  string(): string {
    this.#skipSpace();
    const start = this.#at;
    const value = this.#match(plain)?.slice(1, -1) ?? this.#stringWithEscapes();
    if (value?.isWellFormed()) return value;
    this.#at = start;
    throw this.#unexpected("a string");
  }

  /** Skips `null` if it comes next. Returns whether it does. */
  takeNull(): boolean {
    this.#skipSpace();
    return this.#match(nothing) !== undefined;
  }

  /** Skips what a sticky pattern matches at the current position. Returns its groups, or undefined if it does not match. */
  groups(pattern: RegExp): readonly string[] | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text);
    if (!found) return undefined;
    this.#at = pattern.lastIndex;
    return found.slice(1);
  }

  /** Skips any value. */
  skip(depth = 0): void {
    this.#skipSpace();
    const next = this.#text[this.#at];
    if (depth === maxDepth) {
      throw this.#error(`character ${this.#at} is nested deeper than ${maxDepth} arrays and objects`);
    }
    if (next === '"') this.string();
    else if (next === "{") this.object(() => this.skip(depth + 1));
    else if (next === "[") this.#list("[", "]", () => this.skip(depth + 1));
    else if (this.#match(scalar) === undefined) throw this.#unexpected("a value");
  }

  /** Checks that only white space follows. */
  end(): void {
    this.#skipSpace();
    if (this.#at < this.#text.length) throw this.#unexpected("the end");
  }

  #stringWithEscapes(): string | undefined {
    const start = this.#at;
    if (!this.#take('"')) return undefined;
    while (this.#at < this.#text.length && this.#text[this.#at] !== '"') {
      this.#at += this.#text[this.#at] === "\\" ? 2 : 1;
    }
    this.#at += 1;
    return parseString(this.#text.slice(start, this.#at));
  }

  #integer(): number {
    this.#skipSpace();
    const start = this.#at, text = this.#text;
    let value = 0;
    for (let digit = digitAt(text, start); digit >= 0 && (value > 0 || this.#at === start);) {
      value = 10 * value + digit;
      digit = digitAt(text, this.#at += 1);
    }
    if (this.#at > start && Number.isSafeInteger(value)) return value;
    this.#at = start;
    throw this.#unexpected("an integer from 0 to 2^53 - 1");
  }

  #list(open: string, close: string, item: () => void): void {
    this.#expect(open);
    if (this.#take(close)) return;
    do item(); while (this.#take(","));
    this.#expect(close);
  }

  #take(character: string): boolean {
    this.#skipSpace();
    if (this.#text[this.#at] !== character) return false;
    this.#at += 1;
    return true;
  }

  #expect(character: string): void {
    if (!this.#take(character)) throw this.#unexpected(`"${character}"`);
  }

  #skipSpace(): void {
    while (isSpace(this.#text.charCodeAt(this.#at))) this.#at += 1;
  }

  /** Skips the match of a sticky pattern at the current position, and returns it. */
  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    if (!pattern.test(this.#text)) return undefined;
    const start = this.#at;
    this.#at = pattern.lastIndex;
    return this.#text.slice(start, this.#at);
  }

  #unexpected(expected: string): Error {
    const found = this.#at < this.#text.length ? quote(this.#text[this.#at]!) : "the end";
    return this.#error(`character ${this.#at} must begin ${expected}, got ${found}`);
  }
}

/** Returns the value of a digit, or -1 if the character is something else. */
function digitAt(text: string, at: number): number {
  const value = text.charCodeAt(at) - 0x30;
  return value >= 0 && value <= 9 ? value : -1;
}

/** Returns whether a UTF-16 code unit is a space, a tab, a line feed or a carriage return. */
function isSpace(unit: number): boolean {
  return unit === 0x20 || unit === 0x09 || unit === 0x0a || unit === 0x0d;
}

function parseString(text: string): string | undefined {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // a control character or an unknown escape
  }
}
