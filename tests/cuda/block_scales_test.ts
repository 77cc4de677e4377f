// Scales that the kernels with blocks of weights cannot read.
import { assertEquals } from "@std/assert";
import { convert, packed, type Tensor, tensor } from "../../mod.ts";
import { hasWideScales } from "../../src/cuda/wide_scales.ts";

/** A weight of integers with a bf16 scale for each of its rows, given as bits. */
function int4Weight(...bits: readonly number[]) {
  const values = tensor(new Uint8Array(bits.length * 16), [1, bits.length, 16]);
  const scales: Tensor = { dtype: "bf16", shape: [1, bits.length, 1], data: new Uint16Array(bits) };
  return packed("int4", { values, scales }, [1, bits.length, 32]);
}

Deno.test("cuda: scales of integers in bf16 are wide from 2^7 in magnitude, and below 2^-114, except for zero", () => {
  assertEquals(hasWideScales(int4Weight(0, 0x8000, 0x0680, 0x8680, 0x3c00, 0x42ff, 0xc2ff)), false); // 2^-114 and below 2^7
  for (const bits of [1, 0x067f, 0x867f, 0x4300, 0xc300, 0x7f7f]) {
    assertEquals(hasWideScales(int4Weight(0x3c00, bits)), true, `${bits}`);
  }
});

Deno.test("cuda: scales of MXFP4 are wide above 128", () => {
  const weight = (...scales: readonly number[]) => {
    const bytes = (columns: number) => new Uint8Array(scales.length * columns);
    const parts = {
      values: tensor(bytes(16), [1, scales.length, 16]),
      scales: tensor(bytes(1), [1, scales.length, 1]),
    };
    parts.scales.data.set(scales);
    return packed("mxfp4", parts, [1, scales.length, 32]);
  };
  assertEquals(hasWideScales(weight(0, 127, 128)), false);
  assertEquals(hasWideScales(weight(127, 129)), true);
});

Deno.test("cuda: products of the scales of NVFP4 are wide from 2 in magnitude, and below 2^-118", () => {
  /** Experts with a global scale for each half of their two rows; the scales of each row are bits of E4M3. */
  const weight = (globals: readonly number[], scales: readonly number[]) =>
    packed("nvfp4", {
      values: tensor(new Uint8Array(globals.length * 8), [globals.length / 2, 2, 8]),
      scales: tensor(new Uint8Array(scales), [globals.length / 2, 2, 1]),
      globalScales: tensor(new Float32Array(globals), [globals.length / 2, 2]),
    }, [globals.length / 2, 2, 16]);
  const narrow = [
    [[0.004, -0.004], [0x7e, 0xfe]], // 448, the largest scale
    [[1, 1], [0x3f, 0xbf]], // 1.875
    [[-1, 2 ** 30], [0x3f, 0]],
    [[2 ** -109, 0], [1, 0x7e]], // 2^-9, the smallest scale
    [[0.1, 0.1, 0.004, 4], [0x58, 0x58, 0x7e, 0x2e]], // 16; 0.4375
  ] as const;
  for (const [globals, scales] of narrow) assertEquals(hasWideScales(weight(globals, scales)), false, `${globals}`);
  const wide = [
    [[0.0045, 0.001], [0x7e, 0x38]],
    [[1, -1], [0x38, 0xc0]], // -2
    [[2 ** -110, 1], [0x38, 0]],
    [[0.1, 0.1, 0.004, 5], [0x58, 0x58, 0x7e, 0x2e]],
  ] as const;
  for (const [globals, scales] of wide) assertEquals(hasWideScales(weight(globals, scales)), true, `${globals}`);
});

Deno.test("cuda: scales of FP8 are wide from 2^7 in magnitude, and below 2^-64, except for zero", () => {
  const isWide = (scales: Tensor) => {
    const values = tensor(new Uint8Array(scales.data.length * 8), [1, scales.data.length, 8]);
    return hasWideScales(packed("fp8", { values, scales }, [1, scales.data.length, 8], { block: [1, 8] }));
  };
  const f32 = (...scales: readonly number[]) => tensor(new Float32Array(scales), [1, scales.length, 1]);
  const e8m0 = (...scales: readonly number[]) => tensor(new Uint8Array(scales), [1, scales.length, 1]);
  for (const scales of [f32(0, -0, 2 ** -64, -127), e8m0(63, 133)]) {
    assertEquals([isWide(scales), scales.dtype === "f32" && isWide(convert(scales, "bf16"))], [false, false]);
  }
  for (const scale of [128, -128, 2 ** -65, 2 ** -127]) {
    assertEquals([isWide(f32(1, scale)), isWide(convert(f32(scale, 1), "bf16"))], [true, true], `${scale}`);
  }
  for (const scale of [0, 62, 134]) assertEquals(isWide(e8m0(127, scale)), true);
});
