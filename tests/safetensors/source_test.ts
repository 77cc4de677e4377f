// Files that are read through several handles at the same time.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { SafetensorsError } from "../../mod.ts";
import { fileSource } from "../../src/safetensors/source.ts";

const size = 40 * 2 ** 20;

/** Writes a file whose words are their own positions, plus an offset. */
async function writeNumbers(path: string, offset = 0): Promise<void> {
  await Deno.writeFile(path, new Uint8Array(Uint32Array.from({ length: size / 4 }, (_, i) => i + offset).buffer));
}

async function inDirectory(use: (path: string, directory: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir();
  try {
    await writeNumbers(`${directory}/x`);
    await use(`${directory}/x`, directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

/** Reads words from a position on, and returns whether they are the file's. */
async function isRight(
  source: { read(target: Uint8Array, position: number): Promise<void> },
  at: number,
  words: number,
) {
  const target = new Uint32Array(new SharedArrayBuffer(4 * words));
  await source.read(new Uint8Array(target.buffer), 4 * at);
  return target.every((word, i) => word === at + i);
}

Deno.test("Reads that run at the same time do not disturb each other", () =>
  inDirectory(async (path) => {
    using source = await fileSource(path);
    assertEquals(source.size, size);
    const starts = Array.from({ length: 40 }, (_, i) => i * 200_003);
    const results = await Promise.all([
      isRight(source, 0, size / 4),
      ...starts.map((at) => isRight(source, at, 2_000_000)),
    ]);
    assert(results.every((right) => right));
  }));

Deno.test("A file that replaces an open file is not read", () =>
  inDirectory(async (path, directory) => {
    using source = await fileSource(path);
    await writeNumbers(`${directory}/y`, 7);
    await Deno.rename(`${directory}/y`, path);
    assert((await Promise.all([0, 1, 2, 3].map((i) => isRight(source, i, size / 4 - 4)))).every((right) => right));
    await Deno.remove(path);
    assert(await isRight(source, 5, size / 4 - 5));
  }));

Deno.test("A source that is closed during a read closes all of its handles", () =>
  inDirectory(async (path) => {
    const source = await fileSource(path);
    const reading = source.read(new Uint8Array(size), 0).catch((error) => error);
    source[Symbol.dispose]();
    await reading; // the test fails if a handle stays open
    await assertRejects(() => source.read(new Uint8Array(4), 0), SafetensorsError, "the file is closed");
  }));
