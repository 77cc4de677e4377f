// Finds the file that a path means.

/** The file that a path means, and its mode on systems that have modes. */
export interface FileTarget {
  readonly path: string;
  readonly exists: boolean;
  readonly isFile: boolean;
  readonly mode: number | null;
}

/** The maximum number of symbolic links that are followed, as on Linux. */
const maxLinks = 40;

/**
 * Follows symbolic links, also to a file that does not exist yet.
 *
 * @throws {Error} If there are too many.
 */
export function fileTarget(path: string, links = 0): FileTarget {
  const info = ifExists(() => Deno.lstatSync(path));
  if (!info?.isSymlink) {
    const mode = Deno.build.os === "windows" ? null : info?.mode ?? null;
    return { path, exists: info !== undefined, isFile: info?.isFile ?? false, mode };
  }
  if (links === maxLinks) throw new Error(`Cannot follow ${path}: too many symbolic links`);
  const link = Deno.readLinkSync(path);
  const folder = path.slice(0, path.lastIndexOf("/") + 1);
  return fileTarget(/^([/\\]|[A-Za-z]:)/.test(link) ? link : folder + link, links + 1);
}

function ifExists<Result>(read: () => Result): Result | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
