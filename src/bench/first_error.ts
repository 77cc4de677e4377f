/**
 * Returns the error that came first. If the disposal of a resource fails after an error, `using` throws an error about the
 * disposal that only contains the first one.
 */
export function firstError(error: unknown): unknown {
  return error instanceof SuppressedError ? firstError(error.suppressed) : error;
}
