// The bytes of a file, read on demand from a path or from memory.
import { all } from "../concurrently.ts";
import { SafetensorsError } from "./error.ts";

/** Random access to bytes. */
export interface Source extends Disposable {
  /** The number of bytes. */
  readonly size: number;
  /** Fills memory, which may be shared, with the bytes from a position on. */
  read(target: Uint8Array, position: number): Promise<void>;
}

/** The bytes of one system call. Longer reads are divided, so that progress is visible and several handles share the work. */
const pieceBytes = 1 << 23;

/** Reads of so few bytes take less time than handing them to another thread. */
const smallBytes = 1 << 16;

/** How many reads of a file run at the same time. One thread alone cannot copy as fast as the memory allows. */
const maximumHandles = 8;

/** Opens a file. */
export async function fileSource(path: string | URL): Promise<Source> {
  // Opening a pipe waits for a writer, so the kind of the file is checked before.
  const { isFile, isDirectory } = await Deno.stat(path);
  if (!isFile) throw new SafetensorsError(`expected a file, got ${isDirectory ? "a directory" : "a pipe or device"}`);
  const file = await Deno.open(path);
  try {
    return new FileSource(path, await file.stat(), file);
  } catch (error) {
    file.close();
    throw error;
  }
}

class FileSource implements Source {
  readonly size: number;
  readonly #path: string | URL;
  readonly #info: Deno.FileInfo;
  /** The handles that are not in use. Each has a position of its own. */
  readonly #idle: Deno.FsFile[];
  #handles = 1;
  #maximum = maximumHandles;
  readonly #waiting: ((file: Deno.FsFile) => void)[] = [];
  #open = true;

  constructor(path: string | URL, info: Deno.FileInfo, file: Deno.FsFile) {
    this.#path = path;
    this.#info = info;
    this.size = info.size;
    this.#idle = [file];
  }

  read(target: Uint8Array, position: number): Promise<void> {
    if (target.length <= pieceBytes) return this.#readPiece(target, position);
    const pieces: Promise<void>[] = [];
    for (let at = 0; at < target.length; at += pieceBytes) {
      pieces.push(this.#readPiece(target.subarray(at, at + pieceBytes), position + at));
    }
    return all(pieces); // no piece may write to the memory after the end of the read
  }

  async #readPiece(target: Uint8Array, position: number): Promise<void> {
    const file = this.#open && this.#idle.pop() || await this.#take();
    try {
      file.seekSync(position, Deno.SeekMode.Start);
      for (let done = 0; done < target.length;) {
        const rest = target.subarray(done);
        const count = target.length <= smallBytes ? file.readSync(rest) : await file.read(rest);
        if (count === null) throw new SafetensorsError("the file became shorter while it was open");
        done += count;
      }
    } finally {
      this.#give(file);
    }
  }

  async #take(): Promise<Deno.FsFile> {
    if (!this.#open) throw new SafetensorsError("the file is closed");
    if (this.#handles < this.#maximum) {
      this.#handles++;
      const another = await this.#openAnother();
      if (another) return another;
      this.#maximum = --this.#handles;
      const idle = this.#idle.pop();
      if (idle) return idle;
    }
    return await new Promise((resolve) => this.#waiting.push(resolve));
  }

  #give(file: Deno.FsFile): void {
    const next = this.#waiting.shift();
    if (next) next(file);
    else if (this.#open) this.#idle.push(file);
    else file.close();
  }

  /** Opens the file once more. Returns undefined if that is not possible, or if another file has taken its place. */
  async #openAnother(): Promise<Deno.FsFile | undefined> {
    let file: Deno.FsFile | undefined;
    try {
      file = await Deno.open(this.#path);
      const { ino, dev, size } = await file.stat();
      if (ino === this.#info.ino && dev === this.#info.dev && size === this.#info.size) return file;
    } catch {
      // The handles that are open are enough.
    }
    file?.close();
    return undefined;
  }

  [Symbol.dispose](): void {
    this.#open = false;
    for (const file of this.#idle.splice(0)) file.close();
  }
}

/** Makes a source of bytes in memory. */
export function bytesSource(bytes: Uint8Array): Source {
  const size = bytes.length;
  return {
    size,
    read: (target, position) =>
      Promise.try(() => {
        if (bytes.length !== size) throw new SafetensorsError("the memory was resized or detached while it was open");
        target.set(bytes.subarray(position, position + target.length));
      }),
    [Symbol.dispose]() {},
  };
}
