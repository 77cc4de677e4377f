// The bytes of a file, read on demand from a path or from memory.
import { SafetensorsError } from "./error.ts";

/** Random access to bytes. */
export interface Source extends Disposable {
  /** The number of bytes. */
  readonly size: number;
  /** Fills memory, which may be shared, with the bytes from a position on. */
  read(target: Uint8Array, position: number): Promise<void>;
}

/** The most bytes of one system call: few enough that progress is visible. */
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
  /** The previous read. Reads take turns, because the file has one position. */
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
      if (count === null) throw new SafetensorsError("the file became shorter while it was open");
      done += count;
    }
  }

  [Symbol.dispose](): void {
    if (this.#open) this.#file.close();
    this.#open = false;
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
