import { assert, assertEquals, assertNotEquals, assertRejects, assertThrows } from "@std/assert";
import { BackendUnavailableError } from "../../mod.ts";
import { buildCubins, staleImages } from "../../cuda/build.ts";
import { stripComments } from "../../cuda/sources.ts";
import { chooseImage, loadImage, unpackImage } from "../../src/cuda/images/load.ts";
import { fromBase85, toBase85 } from "../../src/cuda/images/base85.ts";
import { manifest } from "../../src/cuda/images/built/manifest.ts";
import { toolkit } from "../toolkit.ts";
import { brotliCompressSync, brotliDecompressSync, constants } from "node:zlib";

Deno.test("the images are built from the present sources of the kernels", async () => {
  assertEquals(await staleImages(), [], "run `deno task build:cubins`");
});

Deno.test("comments and formatting do not make an image stale, but every other change does", () => {
  const code = "int a;  // one\n\n#if A\n  int   b;\n#endif\n";
  assertEquals(stripComments(code), stripComments("// two\nint a;\n#if A\nint b;  // three\n#endif"));
  assertNotEquals(stripComments(code), stripComments(code.replace("b", "c")));
  assertNotEquals(stripComments("#define A\nint b;"), stripComments("#define A int b;"));
});

Deno.test({
  name: "the cubins are what nvcc makes of the sources, byte for byte",
  ignore: !toolkit,
  fn: async () => {
    const images = await buildCubins();
    assertEquals(
      Object.fromEntries([...images].map(([name, { description }]) => [name, description])),
      manifest.images,
    );
    for (const [name, { bytes }] of images) assertEquals(await loadImage(name), bytes, name);
  },
});

for (const [name, { kernels, bytes }] of Object.entries(manifest.images)) {
  Deno.test(`image ${name} loads, and no kernel of it spills`, async () => {
    assertEquals((await loadImage(name)).length, bytes);
    assert(kernels.length > 0);
    for (const { name, frameBytes } of kernels) assertEquals(frameBytes, 0, name);
  });
}

Deno.test("a modified, truncated or exchanged image is refused", async () => {
  const { image } = await import("../../src/cuda/images/built/sm_80.ts");
  const { image: other } = await import("../../src/cuda/images/built/sm_90.ts");
  assertEquals((await unpackImage("sm_80", image)).length, manifest.images.sm_80!.bytes);
  const refused = async (text: string, message: string) => {
    await assertRejects(() => unpackImage("sm_80", text), Error, `Cannot use the kernels for sm_80: ${message}`);
  };
  await refused(other, "expected the digest of the manifest");
  await refused(repacked(image, (bytes) => bytes[1000]! ^= 1), "expected the digest of the manifest");
  const middle = image.length >> 1;
  const flipped = image[middle] === "A" ? "B" : "A";
  // Brotli does not have a checksum: this may unpack to something else.
  await refused(image.slice(0, middle) + flipped + image.slice(middle + 1), "");
  await refused(image.slice(0, middle - middle % 4), ""); // and it does not always notice that the end is missing
  await refused(`!${image.slice(1)}`, "they cannot be unpacked");
  await refused("", "expected the digest of the manifest"); // an empty text unpacks to an empty image
});

/** The text of an image whose bytes are changed. */
function repacked(text: string, change: (bytes: Uint8Array) => void): string {
  const bytes = new Uint8Array(brotliDecompressSync(fromBase85(text)));
  change(bytes);
  const fast = { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } };
  return toBase85(brotliCompressSync(bytes, fast));
}

Deno.test("chooseImage() prefers machine code of the same major version to PTX", () => {
  const chosen: Record<number, string> = {
    75: "sm_75",
    80: "sm_80",
    86: "sm_80",
    87: "sm_80",
    89: "sm_80",
    90: "sm_90",
    100: "sm_100",
    103: "sm_100",
    110: "compute_80",
    120: "sm_120",
    121: "sm_120",
    130: "compute_80",
  };
  for (const [capability, image] of Object.entries(chosen)) assertEquals(chooseImage(Number(capability)), image);
  const error = assertThrows(() => chooseImage(70), BackendUnavailableError, "compute capability 7.0");
  for (const name of Object.keys(manifest.images)) assert(error.message.includes(name));
});

Deno.test("base 85 text gives the same bytes, of any number, and takes five characters for four", () => {
  for (let length = 0; length < 30; length++) {
    for (const fill of [0, 255, 36, undefined]) {
      const bytes = Uint8Array.from({ length }, (_, i) => fill ?? i * 97);
      const text = toBase85(bytes);
      assertEquals(text.length, Math.ceil(length * 5 / 4));
      assert(!/[`$\\]/.test(text));
      assertEquals(fromBase85(`${text.slice(0, 7)}\n${text.slice(7)}`), bytes);
    }
  }
  for (const text of ["`````", "%%%%é"]) {
    assertThrows(() => fromBase85(text), RangeError, "Expected a digit of base 85");
  }
  assertThrows(() => fromBase85("%%%%%%"), RangeError, "Expected at least two characters of base 85");
});
