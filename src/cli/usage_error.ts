/** Thrown for a command line that cannot be followed. The message is one line. */
export class UsageError extends Error {
  override name = "UsageError";
}

/** Runs a check of what the command line asks for: a `RangeError` is a wrong command line there. */
export async function asUsage<Result>(check: () => Result | Promise<Result>): Promise<Result> {
  try {
    return await check();
  } catch (error) {
    throw error instanceof RangeError ? new UsageError(error.message) : error;
  }
}
