// The shared memory of cuda/block_sort.cuh.

/** The bytes of the first row and the first row tile of each expert. */
export function offsetBytes(experts: number): number {
  return 8 * (experts + 1);
}

/** The bytes of the expert of each assignment, with padding. */
export function listBytes(assignments: number): number {
  return 2 * 128 * Math.ceil(assignments / 128);
}
