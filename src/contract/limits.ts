// The largest sizes that the backends take.

/** The most threads of the CPU backend. */
export const maximumThreads = 1024;

/** The most that the GPU kernels take. */
export const gpuLimits = {
  /** Experts of a layer; bins of a sort. */
  experts: 1024,
  /** (Token, slot) pairs of a call; values of a sort; rows of an op. */
  assignments: 2 ** 30,
  /** Experts that a router chooses for a token. */
  topK: 32,
} as const;

/**
 * Checks a size against a limit of the GPU kernels.
 *
 * @param name The name of the size, for the message.
 * @param size The size.
 * @param limit The limit.
 * @throws {RangeError} If the size is larger.
 */
export function checkGpuLimit(name: string, size: number, limit: keyof typeof gpuLimits): void {
  if (size <= gpuLimits[limit]) return;
  throw new RangeError(`${name} must be at most ${gpuLimits[limit]} on the GPU, got ${size}`);
}
