/** Thrown if a file is not valid or lacks a tensor. The message names the file and the tensor. */
export class SafetensorsError extends Error {
  /** The name of the class. */
  override name = "SafetensorsError";
}
