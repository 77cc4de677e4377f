// Random packed weights in every format and variant.
import { packed, type PackedOptions, type PackedParts, type PackedTensor, type Tensor, tensor } from "../mod.ts";
import { convert } from "../mod.ts";
import { SmallRandom } from "./small_random.ts";

/** A variant of a format: makes a weight of a shape whose decoded values have about the size `scale`. */
export interface Variant {
  readonly name: string;
  /** The number of inputs must be a multiple of this. */
  readonly unit: number;
  make(
    random: SmallRandom,
    shape: readonly [number, number, number],
    scale: number,
    order?: Pick<PackedOptions, "gateUpLayout">,
  ): PackedTensor;
}

/** Makes a tensor from numbers in a dtype. */
function scalesOf(shape: readonly number[], dtype: "f32" | "f16" | "bf16", next: () => number): Tensor {
  const count = shape.reduce((product, size) => product * size, 1);
  return convert(tensor(Float32Array.from({ length: count }, next), shape), dtype);
}

/** Makes bytes. */
function bytesOf(shape: readonly number[], next: () => number): Tensor {
  return tensor(Uint8Array.from({ length: shape.reduce((product, size) => product * size, 1) }, next), shape);
}

const byte = (random: SmallRandom) => () => random.integer(0, 255);

/** E4M3 numbers that are not NaN. */
const e4m3 = (random: SmallRandom) => () => random.integer(0, 126) | (random.chance(0.5) ? 128 : 0);

/** A positive number about as large as `scale`. */
const near = (random: SmallRandom, scale: number) => () => scale * (0.5 + random.next());

function int4Of(
  name: string,
  group: number | undefined,
  dtype: "f32" | "f16" | "bf16",
  options?: PackedOptions,
): Variant {
  return {
    name,
    unit: group ?? 32,
    make(random, [E, out, inputs], scale, order) {
      const groups = [E, out, inputs / (group ?? inputs)];
      const parts: PackedParts = {
        values: bytesOf([E, out, inputs / 2], byte(random)),
        scales: scalesOf(groups, dtype, near(random, scale / 4)),
        ...name.includes("zero") && { zeroPoints: bytesOf(groups, () => random.integer(0, 16)) },
      };
      return packed("int4", parts, [E, out, inputs], { ...options, ...order });
    },
  };
}

function fp8(
  name: string,
  dtype: "f32" | "bf16" | "u8",
  blocks: (out: number, inputs: number) => [number, number],
): Variant {
  return {
    name,
    unit: 1,
    make(random, [E, out, inputs], scale, order) {
      const block = blocks(out, inputs);
      const shape = [E, Math.ceil(out / block[0]), Math.ceil(inputs / block[1])];
      const exponent = Math.round(Math.log2(scale / 100)) + 127;
      return packed(
        "fp8",
        {
          values: bytesOf([E, out, inputs], e4m3(random)),
          scales: dtype === "u8"
            ? bytesOf(shape, () => exponent + random.integer(-1, 1))
            : scalesOf(shape, dtype, near(random, scale / 100)),
        },
        [E, out, inputs],
        { block, ...order },
      );
    },
  };
}

function nvfp4(globals: 1 | 2): Variant {
  return {
    name: globals === 1 ? "nvfp4" : "nvfp4, halves",
    unit: 16,
    make(random, [E, out, inputs], scale, order) {
      return packed(
        "nvfp4",
        {
          values: bytesOf([E, out, inputs / 2], byte(random)),
          scales: bytesOf([E, out, inputs / 16], () => random.integer(48, 80)),
          globalScales: scalesOf(globals === 1 ? [E] : [E, 2], "f32", near(random, scale / 4)),
        },
        [E, out, inputs],
        order,
      );
    },
  };
}

/** The variant of Kimi K2 Thinking. */
export const int4: Variant = int4Of("int4 of 32", 32, "bf16");

/** Every format and variant. */
export const variants: readonly Variant[] = [
  {
    name: "mxfp4",
    unit: 32,
    make(random, [E, out, inputs], scale, order) {
      const exponent = Math.round(Math.log2(scale / 2)) + 127;
      return packed(
        "mxfp4",
        {
          values: bytesOf([E, out, inputs / 2], byte(random)),
          scales: bytesOf([E, out, inputs / 32], () => exponent + random.integer(-3, 1)),
        },
        [E, out, inputs],
        order,
      );
    },
  },
  nvfp4(1),
  nvfp4(2),
  int4,
  int4Of("int4 of 128, signed", 128, "f16", { signed: true }),
  int4Of("int4 of 32, zero points", 32, "f32"),
  int4Of("int4 of 128, zero points", 128, "f16"),
  int4Of("int4 of a row", undefined, "bf16"),
  fp8("fp8 of blocks", "f32", () => [128, 128]),
  fp8("fp8 of blocks, bf16", "bf16", () => [128, 128]),
  fp8("fp8 of blocks, e8m0", "u8", () => [128, 128]),
  fp8("fp8 of small blocks", "f32", () => [8, 31]),
  fp8("fp8 of rows", "bf16", (_, inputs) => [1, inputs]),
  fp8("fp8 of experts", "f32", (out, inputs) => [out, inputs]),
  fp8("fp8 of halves", "f32", (out, inputs) => [Math.ceil(out / 2), inputs]),
];

/** Integers with two scales and two zero points in each row of a block. */
const int4Pairs = int4Of("int4 of 32, zero points, f16", 32, "f16");

/** Returns a variant. One exists that is not in {@linkcode variants}, because it takes other paths on Hopper only. */
export function variantNamed(name: string): Variant {
  const found = [...variants, int4Pairs].find((variant) => variant.name === name);
  if (!found) throw new RangeError(`name must be that of a variant, got ${name}`);
  return found;
}

/** Makes bytes that are the number of their row, or 0 if that is one of NaN or above the maximum. */
function rowNumbers(columns: number, nans: readonly number[], maximum = 255): Tensor {
  const numbers = Uint8Array.from({ length: 256 * columns }, (_, i) => Math.floor(i / columns));
  return tensor(numbers.map((row) => nans.includes(row) || row > maximum ? 0 : row), [1, 256, columns]);
}

/** The E4M3 numbers of the rows. A NaN is alone in its row: in another column of each of 64 rows. */
function e4m3Rows(): Tensor {
  const numbers = rowNumbers(64, [127, 255]);
  for (let row = 0; row < 64; row++) numbers.data[(128 + row) * 64 + row] = row % 2 ? 127 : 255;
  return numbers;
}

/** Makes bytes, all different in a row. */
function ramps(columns: number): Tensor {
  return tensor(Uint8Array.from({ length: 256 * columns }, (_, i) => i * 37), [1, 256, columns]);
}

/** The packed weights of a call. */
export interface PackedWeights {
  readonly gateUpProj: PackedTensor;
  readonly downProj: PackedTensor;
}

/**
 * Makes weights of one expert with H of 256 and I of 64. The rows of the down projection have every number, NaN included, or
 * every scale of eight bits.
 *
 * @param maximumScale The largest scale of MXFP4.
 */
export function extremes(maximumScale: number): readonly PackedWeights[] {
  const shape = [1, 256, 64] as const;
  const one = (scale: number, ...shape: number[]) => tensor(new Float32Array([scale]), shape);
  const downs = {
    "fp8 of experts": packed("fp8", { values: e4m3Rows(), scales: one(0.01, 1, 1, 1) }, shape, {
      block: [256, 64],
    }),
    "fp8 of rows": packed("fp8", { values: ramps(64), scales: rowNumbers(1, [255]) }, shape, { block: [1, 64] }),
    "mxfp4": packed("mxfp4", { values: ramps(32), scales: rowNumbers(2, [255], maximumScale) }, shape),
    "nvfp4": packed(
      "nvfp4",
      { values: ramps(32), scales: rowNumbers(4, [127, 255]), globalScales: one(0.3, 1) },
      shape,
    ),
  };
  return variants.flatMap(({ name, make }) => {
    const downProj = downs[name as keyof typeof downs];
    return downProj ? [{ gateUpProj: make(new SmallRandom(1), [1, 128, 256], 0.1), downProj }] : [];
  });
}
