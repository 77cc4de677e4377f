/** Thrown when the backend asked for cannot run here. The message says why. */
export class BackendUnavailableError extends Error {
  /** The class's name. */
  override name = "BackendUnavailableError";
}
