import { moe, tensor } from "../../mod.ts";
import { CheckpointLayer } from "../../src/models/checkpoint/checkpoint_layer.ts";
import { convert, type DType } from "../../src/tensor/tensor.ts";
import { relativeError } from "../fixtures.ts";
import { computeLayer, roundToBf16 } from "./layer_model.ts";
import { type Encodings, makeCheckpoint, type Published, type Sizes, writeCheckpoint } from "./checkpoints.ts";

/** A checkpoint, and the dtype to compute in. */
export interface Run {
  readonly published: Published;
  readonly encodings: Encodings;
  readonly quantization?: Readonly<Record<string, unknown>>;
  readonly dtype?: DType;
  readonly sizes?: Sizes;
}

/**
 * Computes a checkpoint's layer as `yamoe run` does and returns the error against float64, in which only what is stored is
 * rounded to the dtype.
 */
export async function errorOf({ published, encodings, quantization, dtype = "f32", sizes }: Run): Promise<number> {
  const { tensors, hidden, layer } = makeCheckpoint(published, encodings, published.name.length + 7, sizes);
  const output = computeLayer(published.definition, layer, hidden, dtype === "bf16" ? roundToBf16 : undefined);
  const directory = await Deno.makeTempDir();
  try {
    await writeCheckpoint(directory, published, tensors, quantization);
    using found = await CheckpointLayer.open(directory, { layer: 1, prefix: published.prefix });
    const input = tensor(Float32Array.from(hidden.values), [hidden.rows, hidden.columns]);
    const result = await moe(convert(input, dtype), await found.read(dtype), {
      expertCapacity: found.expertCapacity,
    });
    return relativeError(convert(result, "f32").data, output);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}
