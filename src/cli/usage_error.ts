/** Thrown for a command line that cannot be followed. The message is one line. */
export class UsageError extends Error {
  override name = "UsageError";
}
