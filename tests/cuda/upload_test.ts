// Packed weights that are read from a checkpoint to emulated GPUs.
import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { convert, CudaError, openLayer, type PackedTensor, tensor, zeros } from "../../mod.ts";
import { CheckpointLayer } from "../../src/models/checkpoint/checkpoint_layer.ts";
import { makeCheckpoint, writeCheckpoint } from "../families/checkpoints.ts";
import { mxfp4Of } from "../families/encodings.ts";
import { named, storedFormats } from "../families/stored_formats.ts";
import { toolkit } from "../toolkit.ts";
import { failingUploads, uploadSuite } from "../upload_suite.ts";
import { emulated, openEmulated } from "./emulated.ts";

const ignore = !toolkit;

for (const arch of [80, 90]) {
  Deno.test({
    name: `cuda, ${emulated}, sm_${arch}: packed weights are the same, uploaded at once or some experts at a time`,
    ignore,
    fn: async () => {
      const { backend, control } = await openEmulated(arch);
      {
        using own = backend;
        await uploadSuite(own, 65);
        await failingUploads(own);
      }
      assertEquals(control.live, "");
    },
  });
}

Deno.test({
  name: `cuda, ${emulated}, sm_90: a layer that stays packed has the result of its decoded weights`,
  ignore,
  fn: async () => {
    using backend = (await openEmulated(90)).backend;
    for (const { kept, published, encodings, quantization } of storedFormats) {
      if (!kept) continue;
      const { tensors, hidden } = makeCheckpoint(published, encodings, 7);
      const directory = await Deno.makeTempDir();
      await writeCheckpoint(directory, published, tensors, quantization);
      using found = await CheckpointLayer.open(directory, { layer: 1 });
      using layer = await openLayer(directory, { backend, layer: 1, dtype: "bf16" });
      const input = convert(tensor(Float32Array.from(hidden.values), [hidden.rows, hidden.columns]), "bf16");
      using states = backend.upload(input);
      using output = await backend.moe(states, layer);
      const decoded = await found.read("bf16");
      const upload = (weight: typeof decoded.gateUpProj) => backend.upload(weight as typeof input);
      using gateUpProj = upload(decoded.gateUpProj), downProj = upload(decoded.downProj);
      using expected = await backend.moe(states, { ...layer, gateUpProj, downProj });
      assertEquals(await backend.download(output), await backend.download(expected), published.name);
      await Deno.remove(directory, { recursive: true });
    }
    assertEquals(backend.memory.liveBytes, 0);
  },
});

Deno.test({
  name: `cuda, ${emulated}, sm_80: an expert may be larger than the staging memory`,
  ignore,
  fn: async () => {
    const { backend, control } = await openEmulated(80);
    {
      using own = backend;
      const shape = [2, 4096, 18432];
      const spec = { format: { kind: "mxfp4", exactInF16: false }, shape } as const;
      const produce = ({ parts }: PackedTensor, first: number) => {
        parts.values.data.fill(first + 1);
        parts.scales.data.fill(first + 3);
      };
      using weight = await own.uploadPacked(spec, produce);
      const { data } = await own.download(weight.parts.scales);
      const half = data.length / 2, expected = zeros("u8", [data.length]).data.fill(3);
      assertEquals(data, expected.fill(4, half));
      const failing = () => own.uploadPacked(spec, () => Promise.reject(new Error("no more")));
      await assertRejects(failing, Error, "no more");
    }
    assertEquals(control.live, "");
  },
});

Deno.test({
  name: `cuda, ${emulated}, sm_90: if a driver call of an upload fails, its error is thrown, and everything is freed`,
  ignore,
  fn: async () => {
    const spec = { format: { kind: "mxfp4", exactInF16: true }, shape: [3, 2, 32] } as const;
    const failed = new Set<string>();
    const { backend: first, control } = await openEmulated(90);
    first[Symbol.dispose]();
    for (let call = 1;; call++) {
      {
        using backend = (await openEmulated(90)).backend;
        control.fail(call, 700, false);
        const error = await backend.uploadPacked(spec, async ({ parts }) => {
          parts.scales.data.fill(120);
          await Promise.resolve();
        }).then((weight) => weight[Symbol.dispose]()).catch((error: unknown) => error);
        const api = control.failedCall;
        control.fail(0, 0);
        if (!api) break; // the upload has fewer calls
        assertInstanceOf(error, CudaError, api);
        assertEquals([error.api, backend.memory.liveBytes], [api, 0]);
        failed.add(api);
      }
      assertEquals(control.live, "");
    }
    for (const api of ["cuMemHostRegister_v2", "cuMemcpyHtoDAsync_v2", "cuLaunchKernelEx", "cuEventSynchronize"]) {
      assert(failed.has(api), `${api} of ${[...failed]}`);
    }
  },
});

Deno.test({
  name: `cuda, ${emulated}, sm_90: openLayer reads scales that the kernels cannot read, and calls decode the weights`,
  ignore,
  fn: async () => {
    using backend = (await openEmulated(90)).backend;
    const published = named("qwen3_moe"),
      { tensors } = makeCheckpoint(published, { experts: mxfp4Of("compressed-tensors") }, 3);
    tensors["model.layers.1.mlp.experts.5.up_proj.weight_scale"]!.bytes[3] = 200;
    const directory = await Deno.makeTempDir();
    await writeCheckpoint(directory, published, tensors);
    {
      using layer = await openLayer(directory, { backend, layer: 1, dtype: "bf16" });
      const { gateUpProj, downProj } = layer;
      assert("format" in gateUpProj && "format" in downProj);
      assertEquals([gateUpProj.format.needsDecoding, downProj.format.needsDecoding], [true, undefined]);
    }
    await Deno.remove(directory, { recursive: true });
  },
});
