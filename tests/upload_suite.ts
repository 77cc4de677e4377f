// Uploads of packed weights, some experts at a time, on any backend.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { type Backend, packed, type PackedTensor, tensor } from "../mod.ts";
import { expertsOf, mapParts } from "../src/tensor/packed_tensor.ts";
import { variants } from "./packed_inputs.ts";
import { SmallRandom } from "./small_random.ts";

const experts = 130;

/** Copies experts of a weight to a piece. */
export function copyExperts(weight: PackedTensor, piece: PackedTensor, first: number): void {
  const { parts } = expertsOf(weight, first, piece.shape[0] ?? 0);
  mapParts(piece, ({ data }, name) => data.set(parts[name]!.data));
}

/**
 * Uploads weights in every format at once and piece by piece, and compares the memory of the backend.
 *
 * @param pieces The number of pieces that the backend uses.
 */
export async function uploadSuite(backend: Backend, pieces: number): Promise<void> {
  for (const [seed, { name, make }] of variants.entries()) {
    const weight = make(new SmallRandom(seed), [experts, 66, 128], 0.1);
    using whole = backend.upload(weight);
    const firsts: number[] = [];
    let next = 0;
    using uploaded = await backend.uploadPacked(weight, async (piece, first) => {
      assertEquals(first, next);
      firsts.push(first);
      next += piece.shape[0]!;
      await Promise.resolve();
      copyExperts(weight, piece, first);
    });
    assertEquals([next, firsts.length], [experts, pieces], name);
    assertEquals([uploaded.format, uploaded.shape], [weight.format, weight.shape]);
    const download = async ({ parts }: typeof whole) =>
      await Promise.all(Object.values(parts).map((part) => backend.download(part)));
    assertEquals(await download(uploaded), await download(whole), name);
  }
  assertEquals(backend.memory.liveBytes, 0);
}

/** Lets an upload fail in its last piece. The backend frees the memory, and the next upload works. */
export async function failingUploads(backend: Backend): Promise<void> {
  const bytes = (columns: number) => tensor(new Uint8Array(experts * 2 * columns).fill(120), [experts, 2, columns]);
  const weight = packed("mxfp4", { values: bytes(16), scales: bytes(1) }, [experts, 2, 32]);
  const upload = () =>
    backend.uploadPacked(weight, (piece, first) => {
      if (first + piece.shape[0]! === experts) throw new Error("no more");
      copyExperts(weight, piece, first);
    });
  await assertRejects(upload, Error, "no more");
  assertEquals(backend.memory.liveBytes, 0);
  using uploaded = await backend.uploadPacked(weight, (piece, first) => copyExperts(weight, piece, first));
  assert(backend.memory.liveBytes > 0);
  uploaded[Symbol.dispose]();
  uploaded[Symbol.dispose]();
  assertEquals(backend.memory.liveBytes, 0);
}
