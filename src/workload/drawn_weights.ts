/**
 * Drawn weights in a packed format.
 *
 * @module
 */
import { denseFormats, type WeightFormats } from "../contract/weights.ts";
import { packed } from "../tensor/packed.ts";
import {
  type PackedFormat,
  packedKinds,
  type PackedParts,
  type PackedTensor,
  partDTypes,
  partShapes,
} from "../tensor/packed_tensor.ts";
import { elementCount, type Tensor, zeros } from "../tensor/tensor.ts";
import type { LayerPreset } from "../models/preset.ts";

/** How drawn weights can be stored. */
export const drawnFormats = ["dense", ...packedKinds] as const;

/** How drawn weights are stored. */
export type DrawnFormat = typeof drawnFormats[number];

/** Returns whether the weights of a job are drawn. If not, they are a checkpoint's. */
export function areDrawn(weights: string): weights is DrawnFormat {
  return drawnFormats.some((format) => format === weights);
}

/** The variants that are drawn: those of gpt-oss, ModelOpt, Kimi K2 Thinking and DeepSeek-V3. */
const variants: { readonly [Kind in PackedFormat["kind"]]: PackedFormat } = {
  mxfp4: { kind: "mxfp4", exactInF16: true },
  nvfp4: { kind: "nvfp4", globalScales: 1 },
  int4: { kind: "int4", group: 32, integers: "offset", scale: "bf16" },
  fp8: { kind: "fp8", block: [128, 128], scale: "f32" },
};

/** The number of inputs of a packed weight is a multiple of this. */
export const inputUnits: Readonly<Record<DrawnFormat, number>> = { dense: 1, mxfp4: 32, nvfp4: 16, int4: 32, fp8: 1 };

/** Returns how the weights of a job are stored. A checkpoint's count as dense. */
export function jobFormats(
  { weights, dtype, gated, gateUpLayout }:
    & Pick<LayerPreset, "dtype" | "gated" | "gateUpLayout">
    & { readonly weights: string },
): WeightFormats {
  if (!areDrawn(weights) || weights === "dense") return denseFormats(dtype);
  return packedFormats(weights, gated && gateUpLayout === "concatenated");
}

/**
 * Returns the formats of drawn weights that are packed.
 *
 * @param isSplit Whether the first half of the rows of `gateUpProj` are gates, and the other half their up rows.
 */
export function packedFormats(
  kind: PackedFormat["kind"],
  isSplit: boolean,
): { readonly gateUpProj: PackedFormat; readonly downProj: PackedFormat } {
  const format = variants[kind];
  return { gateUpProj: isSplit ? { ...format, gateUpLayout: "concatenated" } : format, downProj: format };
}

/**
 * Draws a weight. Its numbers are uniform bits, and its scales give weights of about the size 0.02. Each expert has a seed of
 * its own, so that it can be drawn again alone.
 *
 * @param format The format.
 * @param shape [E, out, in].
 * @param seed The seed of the weight.
 * @param first The number of the first expert.
 * @param onProgress Called after each expert with the fraction that is drawn.
 */
export async function drawPacked(
  format: PackedFormat,
  shape: readonly number[],
  seed: number | bigint,
  first = 0,
  onProgress: (fraction: number) => void = () => {},
): Promise<PackedTensor> {
  const [experts = 0] = shape;
  const shapes = partShapes(format, shape), dtypes = partDTypes(format);
  const values = zeros(dtypes.values, shapes.values), scales = zeros(dtypes.scales, shapes.scales);
  const globalScales = shapes.globalScales && zeros(dtypes.globalScales, shapes.globalScales);
  globalScales?.data.fill(globalScale);
  const mask = format.kind === "fp8" ? smallE4m3 : 0xffffffff;
  for (let e = 0; e < experts; e++) {
    const words = new Words(seed, first + e);
    words.fill(expertOf(values, e) as Uint8Array, mask);
    const own = expertOf(scales, e);
    for (let i = 0; i < own.length; i++) own[i] = scaleOf(format, words.next());
    onProgress((e + 1) / experts);
    await new Promise((resolve) => setTimeout(resolve)); // lets the event loop handle an interrupt
  }
  const parts: PackedParts = { values, scales, globalScales };
  const { kind, gateUpLayout } = format;
  return packed(kind, parts, shape, { gateUpLayout, ...kind === "fp8" && { block: format.block } });
}

/** The elements of one expert. */
function expertOf({ data, shape }: Tensor, expert: number): Tensor["data"] {
  const size = elementCount(shape.slice(1));
  return data.subarray(expert * size, (expert + 1) * size);
}

/** E4M3 numbers below 2, in four bytes: without the highest bit of the exponent. */
const smallE4m3 = 0xbfbfbfbf;

/** The global scale of drawn weights in NVFP4. */
const globalScale = 0.006;

/** Makes a scale of random bits: for E2M1 about 2^-7, for integers 2^-8 to 2^-7, for E4M3 numbers below 2 about 1/32. */
function scaleOf({ kind }: PackedFormat, bits: number): number {
  switch (kind) {
    case "mxfp4":
      return 119 + (bits & 1); // E8M0
    case "nvfp4":
      return 48 + (bits & 15); // E4M3: 0.5 to 1.875
    case "int4":
      return 0x3b80 | bits & 127; // the bits of bf16
    case "fp8":
      return (0.5 + bits / 2 ** 32) / 32;
  }
}

/** Random words. Source: Marsaglia, Xorshift RNGs, 2003, with 32 bits. */
class Words {
  #state: number;

  constructor(seed: number | bigint, stream: number) {
    const low = Number(BigInt.asUintN(32, BigInt(seed)));
    this.#state = mix(low ^ mix(stream + 1)) || 1;
  }

  /** Returns the next word. */
  next(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return x >>> 0;
  }

  /** Fills bytes with words, of which the bits of the mask are kept. */
  fill(target: Uint8Array, mask: number): void {
    const words = new Uint32Array(Math.min(4096, Math.ceil(target.length / 4))), bytes = new Uint8Array(words.buffer);
    for (let at = 0; at < target.length; at += bytes.length) {
      for (let i = 0; i < words.length; i++) words[i] = this.next() & mask;
      target.set(bytes.subarray(0, Math.min(bytes.length, target.length - at)), at);
    }
  }
}

/** Mixes the bits of a word. Source: MurmurHash3, fmix32. */
function mix(word: number): number {
  word = Math.imul(word ^ word >>> 16, 0x85ebca6b);
  word = Math.imul(word ^ word >>> 13, 0xc2b2ae35);
  return (word ^ word >>> 16) >>> 0;
}
