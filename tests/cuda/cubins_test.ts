import { assert, assertEquals, assertThrows } from "@std/assert";
import { BackendUnavailableError } from "../../mod.ts";
import { buildCubins, sourceDigest } from "../../cuda/build.ts";
import { chooseImage, loadImage } from "../../src/cuda/cubins.ts";
import { manifest } from "../../src/cuda/cubins/manifest.ts";
import { toolkit } from "../toolkit.ts";

Deno.test("the cubins come from the kernels' present sources", async () => {
  assertEquals(manifest.sourceSha256, await sourceDigest(), "run `deno task build:cubins`");
});

Deno.test({
  name: "the cubins are what nvcc makes of the sources, byte for byte",
  ignore: !toolkit,
  fn: async () => {
    const { manifest: rebuilt, images } = await buildCubins();
    assertEquals(rebuilt, manifest);
    for (const [name, bytes] of images) assertEquals(await loadImage(name), bytes, name);
  },
});

for (const [name, { kernels, bytes }] of Object.entries(manifest.images)) {
  Deno.test(`image ${name} loads, and no kernel of it spills`, async () => {
    assertEquals((await loadImage(name)).length, bytes);
    assert(kernels.length > 0);
    for (const { name, frameBytes } of kernels) assertEquals(frameBytes, 0, name);
  });
}

Deno.test("chooseImage() takes machine code of the same major version, else PTX", () => {
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
