// Where the bytes of a file come from: a path, read where it is asked for, or memory.
import { SafetensorsError } from "./error.ts";

/** Bytes at positions. */
export interface Source extends Disposable {
  /** Bytes in all. */
  readonly size: number;
  /** Fills a part of memory, which may be shared, with the bytes from a position on. */
  read(target: Uint8Array, position: number): Promise<void>;
}

/** Bytes that one call of the system reads: often enough for progress to be seen. */
const piece = 1 << 26;

/** Opens a file. */
export async function fileSource(path: string | URL): Promise<Source> {
  // Opening a pipe waits for a writer, so the kind of the file is checked before.
  const { isFile, isDirectory } = await Deno.stat(path);
  if (!isFile) throw new SafetensorsError(`expected a file, got ${isDirectory ? "a directory" : "a pipe or device"}`);
  const file = await Deno.open(path);
  try {
    const { size } = await file.stat();
    return new FileSource(size, file);
  } catch (error) {
    file.close();
    throw error;
  }
}

class FileSource implements Source {
  readonly size: number;
  readonly #file: Deno.FsFile;
  #open = true;
  /** The reading before: the file has one position, so they take turns. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(size: number, file: Deno.FsFile) {
    this.size = size;
    this.#file = file;
  }

  read(target: Uint8Array, position: number): Promise<void> {
    const reading = this.#last.then(() => this.#read(target, position));
    this.#last = reading.catch(() => {});
    return reading;
  }

  async #read(target: Uint8Array, position: number): Promise<void> {
    await this.#file.seek(position, Deno.SeekMode.Start);
    for (let done = 0; done < target.length;) {
      const count = await this.#file.read(target.subarray(done, done + piece));
      if (count === null) throw new SafetensorsError("the file became shorter while it was read");
      done += count;
    }
  }

  [Symbol.dispose](): void {
    if (this.#open) this.#file.close();
    this.#open = false;
  }
}

/** Takes bytes that are there. */
export function bytesSource(bytes: Uint8Array): Source {
  return {
    size: bytes.length,
    read(target, position) {
      target.set(bytes.subarray(position, position + target.length));
      return Promise.resolve();
    },
    [Symbol.dispose]() {},
  };
}
