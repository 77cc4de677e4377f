import { describeValue } from "../text.ts";

/** The maximum number of threads of the CPU backend. */
export const maximumThreads = 1024;

/**
 * Checks a number of threads.
 *
 * @throws {RangeError} If it is not an integer from 1 to 1024.
 */
export function checkThreads(threads: number): void {
  if (Number.isInteger(threads) && threads >= 1 && threads <= maximumThreads) return;
  throw new RangeError(`threads must be an integer from 1 to ${maximumThreads}, got ${describeValue(threads)}`);
}
