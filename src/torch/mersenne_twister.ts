// MT19937 as PyTorch seeds it. The state is a window over the untempered words: word[n] follows from the words n - 624,
// n - 623 and n - 227, so any 624 consecutive words are a state.
// Source: Matsumoto and Nishimura, "Mersenne Twister", 1998.

/** The number of words of a state. */
export const windowSize = 624;

const period = 397;

/** The stream of 32-bit words of PyTorch's CPU generator. */
export class MersenneTwister {
  readonly #words = new Int32Array(2 * windowSize);
  #next = 2 * windowSize;

  /** Starts the stream from the low 32 bits of a seed. */
  constructor(seed: number) {
    let word = seed | 0;
    for (let i = 0; i < windowSize; i++) {
      if (i > 0) word = Math.imul(word ^ (word >>> 30), 1812433253) + i | 0;
      this.#words[windowSize + i] = word;
    }
  }

  /** Draws a word, 0 to 2^32 - 1. */
  next(): number {
    if (this.#next === 2 * windowSize) this.#refill();
    let y = this.#words[this.#next++]!;
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  /** Draws the low 53 bits of two words, the first of which is the high one. */
  next53(): number {
    const high = this.next();
    return (high & 0x1fffff) * 2 ** 32 + this.next();
  }

  /** The last 624 untempered words before the next draw. */
  get window(): Int32Array {
    return this.#words.slice(this.#next - windowSize, this.#next);
  }

  /** Continues after the given words. */
  set window(words: Int32Array) {
    this.#words.set(words, windowSize);
    this.#next = 2 * windowSize;
  }

  #refill(): void {
    const words = this.#words;
    words.copyWithin(0, windowSize);
    for (let n = windowSize; n < 2 * windowSize; n++) {
      const y = (words[n - windowSize]! & 0x80000000) | (words[n - windowSize + 1]! & 0x7fffffff);
      words[n] = words[n - windowSize + period]! ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.#next = windowSize;
  }
}
