// The largest sizes that the backends take. tests/cuda checks that the index arithmetic of every kernel is right up to them.

/** The maximum number of experts, or bins of a sort, on the GPU. */
export const maximumExperts = 1024;

/** The maximum number of experts per token of a router on the GPU. */
export const maximumTopK = 32;

/** The maximum number of assignments, rows or columns on the GPU. */
export const maximumItems = 2 ** 30;

/** Checks a number of experts, rows or similar against a limit of the GPU. */
export function checkMaximum(what: string, count: number, maximum: number = maximumItems): void {
  if (count > maximum) throw new RangeError(`${what} must be at most ${maximum} on the GPU, got ${count}`);
}

/** Checks a number that the kernels compute in 32 bits. */
export function checkInt32(what: string, count: number): void {
  checkMaximum(what, count, 2 ** 31 - 1);
}
