// The largest sizes for which the kernels' 32-bit index arithmetic is right. tests/cuda/index_limits_test.ts checks it.

/** The maximum number of experts that the sort and the router count. */
export const maximumExperts = 1024;

/** The maximum number of experts per token of the router. */
export const maximumTopK = 32;

/** The maximum number of assignments, rows or columns of a kernel. */
export const maximumItems = 2 ** 30;

/** Checks a number of experts, rows or similar against a limit. */
export function checkMaximum(what: string, count: number, maximum: number = maximumItems): void {
  if (count > maximum) throw new RangeError(`${what} must be at most ${maximum} on the GPU, got ${count}`);
}

/** Checks a number that the kernels compute in 32 bits. */
export function checkInt32(what: string, count: number): void {
  checkMaximum(what, count, 2 ** 31 - 1);
}
