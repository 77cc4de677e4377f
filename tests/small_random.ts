/** A small, fast random number generator for tests (mulberry32). */
export class SmallRandom {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** Draws a number from [0, 1). */
  next(): number {
    this.#state = this.#state + 0x6d2b79f5 | 0;
    let x = Math.imul(this.#state ^ this.#state >>> 15, 1 | this.#state);
    x = x + Math.imul(x ^ x >>> 7, 61 | x) ^ x;
    return ((x ^ x >>> 14) >>> 0) / 2 ** 32;
  }

  /** Draws an integer, both bounds included. */
  integer(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from + 1));
  }

  /** Returns true with a probability. */
  chance(probability: number): boolean {
    return this.next() < probability;
  }

  /** Picks an element, or undefined from an empty list. */
  pick<Value>(values: readonly Value[]): Value | undefined {
    return values[this.integer(0, values.length - 1)];
  }

  /** Picks an element with a probability in proportion to its weight. */
  weighted<Value>(values: readonly (readonly [weight: number, value: Value])[]): Value {
    let left = this.next() * values.reduce((sum, [weight]) => sum + weight, 0);
    for (const [weight, value] of values) if ((left -= weight) < 0) return value;
    throw new RangeError("Cannot pick from an empty list");
  }

  /** Copies a list in random order. */
  shuffled<Value>(values: readonly Value[]): Value[] {
    return values.map((value) => ({ value, key: this.next() })).sort((a, b) => a.key - b.key).map(({ value }) => value);
  }
}
