/** Thrown if a backend is not available on this machine. The message gives the reason. */
export class BackendUnavailableError extends Error {
  /** The name of the class. */
  override name = "BackendUnavailableError";
}
