// Weights in every format that checkpoints are published in: random codes, the tensors that store them, and what they
// mean in float64. Shares no code with the product.

/** A tensor as a safetensors file has it. */
export interface Raw {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** A linear layer's weight: its values [rows, columns], and the tensors by what their names end with. */
export interface Encoded {
  readonly rows: number;
  readonly columns: number;
  readonly values: Float64Array;
  readonly tensors: Readonly<Record<string, Raw>>;
}

/** A source of random numbers in [0, 1). */
export type Random = () => number;

/** Mulberry32. */
export function randomOf(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = state + 0x6d2b79f5 >>> 0;
    let t = state;
    t = Math.imul(t ^ t >>> 15, t | 1);
    t ^= t + Math.imul(t ^ t >>> 7, t | 61);
    return ((t ^ t >>> 14) >>> 0) / 2 ** 32;
  };
}

/** Rounds to a float dtype: the bytes of the numbers, and the numbers that they mean. */
export function floatTensor(
  dtype: "F32" | "F16" | "BF16",
  values: ArrayLike<number>,
  shape: readonly number[],
): { readonly raw: Raw; readonly values: Float64Array } {
  if (dtype !== "BF16") {
    const stored = dtype === "F32" ? Float32Array.from(values) : Float16Array.from(values);
    return { raw: { dtype, shape, bytes: new Uint8Array(stored.buffer) }, values: Float64Array.from(stored) };
  }
  const words = new Uint32Array(Float32Array.from(values).buffer);
  const stored = Uint16Array.from(words, (word) => (word + 0x7fff + (word >>> 16 & 1)) >>> 16);
  const back = new Float32Array(Uint32Array.from(stored, (bits) => bits << 16).buffer);
  return { raw: { dtype, shape, bytes: new Uint8Array(stored.buffer) }, values: Float64Array.from(back) };
}

function words(values: ArrayLike<number>, shape: readonly number[], dtype = "I32"): Raw {
  return { dtype, shape, bytes: new Uint8Array(Int32Array.from(values).buffer) };
}

const normal = (random: Random) => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
const list = <Value>(count: number, make: (i: number) => Value) => Array.from({ length: count }, (_, i) => make(i));

/** Makes a weight of some rows and columns. */
export type Encoding = (random: Random, rows: number, columns: number) => Encoded;

/** Dense weights. */
export function floatsOf(dtype: "F32" | "F16" | "BF16"): Encoding {
  return (random, rows, columns) => {
    const made = list(rows * columns, () => normal(random) / Math.sqrt(columns));
    const { raw, values } = floatTensor(dtype, made, [rows, columns]);
    return { rows, columns, values, tensors: { ".weight": raw } };
  };
}

/** E4M3 codes without NaN, and their values: sign, four bits of exponent with a bias of 7, three of mantissa. */
function e4m3(random: Random): { readonly code: number; readonly value: number } {
  const sign = random() < 0.5 ? 0 : 128, exponent = Math.floor(random() * 9), mantissa = Math.floor(random() * 8);
  const size = exponent === 0 ? mantissa / 8 * 2 ** -6 : (1 + mantissa / 8) * 2 ** (exponent - 7);
  return { code: sign | exponent << 3 | mantissa, value: sign ? -size : size };
}

/** What an FP8 weight's scales are called, how many there are, and their dtype. */
export interface Fp8Scales {
  readonly name: string;
  readonly block: readonly [number, number] | "row" | "tensor";
  readonly dtype: "F32" | "BF16" | "F8_E8M0" | "U8";
  /** Whether four numbers are stored in a word, as MLX does. */
  readonly words?: boolean;
}

/** FP8 weights, E4M3. */
export function fp8Of({ name, block, dtype, words = false }: Fp8Scales): Encoding {
  return (random, rows, columns) => {
    const [band, run] = block === "row" ? [1, columns] : block === "tensor" ? [rows, columns] : block;
    const [bands, runs] = [Math.ceil(rows / band), Math.ceil(columns / run)];
    const exponents = list(bands * runs, () => Math.floor(random() * 4) - 4);
    const shape = block === "tensor" ? [] : [bands, runs];
    const scales = dtype === "F8_E8M0" || dtype === "U8"
      ? {
        raw: { dtype, shape, bytes: Uint8Array.from(exponents, (e) => e + 127) },
        values: exponents.map((e) => 2 ** e),
      }
      : floatTensor(dtype, exponents.map((e) => 1.3 * 2 ** e), shape);
    const codes = list(rows * columns, () => e4m3(random));
    const scale = (at: number) =>
      scales.values[Math.floor(Math.floor(at / columns) / band) * runs + Math.floor(at % columns / run)]!;
    return {
      rows,
      columns,
      values: Float64Array.from(codes, ({ value }, at) => value * scale(at)),
      tensors: {
        ".weight": {
          ...words ? { dtype: "U32", shape: [rows, columns / 4] } : { dtype: "F8_E4M3", shape: [rows, columns] },
          bytes: Uint8Array.from(codes, ({ code }) => code),
        },
        [name]: scales.raw,
      },
    };
  };
}

const e2m1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0, -0.5, -1, -1.5, -2, -3, -4, -6];
const pairs = (codes: readonly number[]) =>
  Uint8Array.from({ length: codes.length / 2 }, (_, i) => codes[2 * i]! | codes[2 * i + 1]! << 4);

/** MXFP4 weights: a scale, a power of two, for each 32 inputs. */
export function mxfp4Of(naming: "deepseek" | "compressed-tensors" | "gpt-oss" | "mlx"): Encoding {
  return (random, rows, columns) => {
    const runs = columns / 32;
    const shapes: Record<string, readonly number[]> = { "gpt-oss": [rows, runs, 16], "mlx": [rows, columns / 8] };
    const codes = list(rows * columns, () => Math.floor(random() * 16));
    const exponents = list(rows * runs, () => Math.floor(random() * 4) - 6);
    const [weight, scale, dtype, scaleDType] = naming === "deepseek"
      ? [".weight", ".scale", "I8", "F8_E8M0"] as const
      : naming === "mlx"
      ? [".weight", ".scales", "U32", "U8"] as const
      : naming === "gpt-oss"
      ? ["_blocks", "_scales", "U8", "U8"] as const
      : [".weight_packed", ".weight_scale", "U8", "U8"] as const;
    return {
      rows,
      columns,
      values: Float64Array.from(codes, (code, at) => e2m1[code]! * 2 ** exponents[Math.floor(at / 32)]!),
      tensors: {
        [weight]: { dtype, shape: shapes[naming] ?? [rows, columns / 2], bytes: pairs(codes) },
        [scale]: { dtype: scaleDType, shape: [rows, runs], bytes: Uint8Array.from(exponents, (e) => e + 127) },
      },
    };
  };
}

/** NVFP4 weights: an E4M3 scale for each 16 inputs, and one more for the matrix, which MLX does not have. */
export function nvfp4Of(naming: "modelopt" | "compressed-tensors" | "mlx"): Encoding {
  return (random, rows, columns) => {
    const runs = columns / 16;
    const global = naming === "modelopt" ? 0.0625 + random() / 8 : naming === "mlx" ? 1 : 8 + random();
    const codes = list(rows * columns, () => Math.floor(random() * 16));
    const scales = list(rows * runs, () => e4m3(random)).map(({ code, value }) => ({
      code: code & 127,
      value: Math.abs(value),
    }));
    const factor = floatTensor("F32", [global], naming === "modelopt" ? [] : [1]);
    const [weight, scale, own] = naming === "modelopt"
      ? [".weight", ".weight_scale", ".weight_scale_2"]
      : [".weight_packed", ".weight_scale", ".weight_global_scale"];
    const total = naming === "modelopt" ? factor.values[0]! : 1 / factor.values[0]!;
    const bytes = Uint8Array.from(scales, ({ code }) => code);
    return {
      rows,
      columns,
      values: Float64Array.from(codes, (code, at) => e2m1[code]! * scales[Math.floor(at / 16)]!.value * total),
      tensors: naming === "mlx"
        ? {
          ".weight": { dtype: "U32", shape: [rows, columns / 8], bytes: pairs(codes) },
          ".scales": { dtype: "U8", shape: [rows, runs], bytes },
        }
        : {
          [weight!]: { dtype: "U8", shape: [rows, columns / 2], bytes: pairs(codes) },
          [scale!]: { dtype: "F8_E4M3", shape: [rows, runs], bytes },
          [own!]: factor.raw,
          ...naming === "modelopt" && { ".input_scale": floatTensor("F32", [1], []).raw },
        },
    };
  };
}

/** Packs codes into words along an axis. `code(i, j)` is the j-th of the i-th word. */
function pack(count: number, bits: number, code: (word: number, place: number) => number): number[] {
  return list(count, (word) => list(32 / bits, (place) => code(word, place) << place * bits).reduce((a, b) => a | b));
}

/** Integers with a scale and a zero point for each group of inputs; codes[out][in]. */
function integers(random: Random, rows: number, columns: number, group: number, bits: number, symmetric: boolean) {
  const groups = columns / group, top = 2 ** bits;
  const codes = list(rows, () => list(columns, () => Math.floor(random() * top)));
  const zeros = list(rows, () => list(groups, () => symmetric ? top / 2 : 1 + Math.floor(random() * (top - 1))));
  const made = list(rows * groups, () => (0.5 + random()) / top / Math.sqrt(columns) * 4);
  return { groups, codes, zeros, made };
}

/** GPTQ weights: [in / 8, out] words; zero points less one. */
export function gptqOf(
  group: number,
  options: { readonly reordered?: boolean; readonly bits?: number } = {},
): Encoding {
  return (random, rows, columns) => {
    const { bits = 4, reordered = false } = options, per = 32 / bits;
    const { groups, codes, zeros, made } = integers(random, rows, columns, group, bits, false);
    const scales = floatTensor("F16", list(groups * rows, (at) => made[at % rows * groups + Math.floor(at / rows)]!), [
      groups,
      rows,
    ]);
    const groupOf = list(columns, (i) => reordered ? i % groups : Math.floor(i / group));
    return {
      rows,
      columns,
      values: Float64Array.from({ length: rows * columns }, (_, at) => {
        const o = Math.floor(at / columns), i = at % columns, g = groupOf[i]!;
        return (codes[o]![i]! - zeros[o]![g]!) * scales.values[g * rows + o]!;
      }),
      tensors: {
        ".qweight": words(
          pack(
            columns / per * rows,
            bits,
            (word, place) => codes[word % rows]![Math.floor(word / rows) * per + place]!,
          ),
          [columns / per, rows],
        ),
        ".qzeros": words(
          pack(groups * rows / per, bits, (word, place) => {
            const perGroup = rows / per;
            return zeros[word % perGroup * per + place]![Math.floor(word / perGroup)]! - 1;
          }),
          [groups, rows / per],
        ),
        ".scales": scales.raw,
        ".g_idx": words(groupOf, [columns]),
      },
    };
  };
}

/** AWQ weights: [in, out / 8] words, whose places hold the columns 0, 2, 4, 6, 1, 3, 5, 7. */
export function awqOf(group: number): Encoding {
  const order = [0, 2, 4, 6, 1, 3, 5, 7];
  return (random, rows, columns) => {
    const { groups, codes, zeros, made } = integers(random, rows, columns, group, 4, false);
    const scales = floatTensor("F16", list(groups * rows, (at) => made[at % rows * groups + Math.floor(at / rows)]!), [
      groups,
      rows,
    ]);
    const wordsOf = rows / 8;
    return {
      rows,
      columns,
      values: Float64Array.from({ length: rows * columns }, (_, at) => {
        const o = Math.floor(at / columns), i = at % columns, g = Math.floor(i / group);
        return (codes[o]![i]! - zeros[o]![g]!) * scales.values[g * rows + o]!;
      }),
      tensors: {
        ".qweight": words(
          pack(
            columns * wordsOf,
            4,
            (word, place) => codes[word % wordsOf * 8 + order[place]!]![Math.floor(word / wordsOf)]!,
          ),
          [columns, wordsOf],
        ),
        ".qzeros": words(
          pack(
            groups * wordsOf,
            4,
            (word, place) => zeros[word % wordsOf * 8 + order[place]!]![Math.floor(word / wordsOf)]!,
          ),
          [groups, wordsOf],
        ),
        ".scales": scales.raw,
      },
    };
  };
}

/** compressed-tensors, "pack-quantized": [out, in / 8] words. */
export function packedOf(group: number, bits: number, symmetric: boolean): Encoding {
  return (random, rows, columns) => {
    const per = 32 / bits;
    const { groups, codes, zeros, made } = integers(random, rows, columns, group, bits, symmetric);
    const scales = floatTensor("BF16", made, [rows, groups]);
    return {
      rows,
      columns,
      values: Float64Array.from({ length: rows * columns }, (_, at) => {
        const o = Math.floor(at / columns), i = at % columns, g = Math.floor(i / group);
        return (codes[o]![i]! - zeros[o]![g]!) * scales.values[o * groups + g]!;
      }),
      tensors: {
        ".weight_packed": words(
          pack(rows * columns / per, bits, (word, place) => {
            const perRow = columns / per;
            return codes[Math.floor(word / perRow)]![word % perRow * per + place]!;
          }),
          [rows, columns / per],
        ),
        ".weight_scale": scales.raw,
        ".weight_shape": {
          dtype: "I64",
          shape: [2],
          bytes: new Uint8Array(BigInt64Array.of(BigInt(rows), BigInt(columns)).buffer),
        },
        ...!symmetric && {
          ".weight_zero_point": words(
            pack(
              rows / per * groups,
              bits,
              (word, place) => zeros[Math.floor(word / groups) * per + place]![word % groups]!,
            ),
            [rows / per, groups],
          ),
        },
      },
    };
  };
}

/** MLX, "affine": [out, in / 8] words, a scale and an offset for each group of inputs. */
export function mlxOf(group: number, bits = 4): Encoding {
  return (random, rows, columns) => {
    const groups = columns / group;
    const codes = list(rows * columns, () => Math.floor(random() * 2 ** bits));
    const stream = codes.flatMap((code) => list(bits, (bit) => code >> bit & 1)); // the lowest bit first
    const packed = list(
      stream.length / 32,
      (word) => list(32, (bit) => stream[word * 32 + bit]! << bit).reduce((a, b) => a | b),
    );
    const size = () => (0.5 + random()) / 2 ** bits / Math.sqrt(columns) * 4;
    const scales = floatTensor("BF16", list(rows * groups, size), [rows, groups]);
    const biases = floatTensor("BF16", list(rows * groups, (g) => -(2 ** (bits - 1)) * scales.values[g]!), [
      rows,
      groups,
    ]);
    return {
      rows,
      columns,
      values: Float64Array.from(
        codes,
        (code, at) => code * scales.values[Math.floor(at / group)]! + biases.values[Math.floor(at / group)]!,
      ),
      tensors: {
        ".weight": words(packed, [rows, columns * bits / 32], "U32"),
        ".scales": scales.raw,
        ".biases": biases.raw,
      },
    };
  };
}
