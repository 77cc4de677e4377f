import { describeValue } from "../tensor/tensor.ts";

/**
 * Returns the path of a file URL, or a path as it is.
 *
 * @throws {TypeError} If the value is neither.
 */
export function filePath(path: string | URL): string {
  if (typeof path === "string") return path;
  if (!(path instanceof URL && path.protocol === "file:")) {
    throw new TypeError(
      `path must be a path or a file URL, got ${path instanceof URL ? path.href : describeValue(path)}`,
    );
  }
  const decoded = decodeURIComponent(path.pathname);
  return Deno.build.os === "windows" ? decoded.replace(/^\/(?=[A-Za-z]:)/, "") : decoded;
}
