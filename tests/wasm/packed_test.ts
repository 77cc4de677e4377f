// The kernels for packed weights against the decoder of the host.
import { assert, assertEquals } from "@std/assert";
import { convert, decode, type DType, packed, type PackedTensor, tensor } from "../../mod.ts";
import { packedWeights } from "../../src/cpu/packed_weights.ts";
import { E4M3, E8M0, F16, F32, PACKED_E2M1, U8 } from "../../src/wasm/codes.ts";
import { createContext } from "../../src/wasm/context.ts";
import { wasmDType } from "../../src/wasm/elements.ts";
import { kernelModule } from "../../src/wasm/module.ts";
import { e4m3, e8m0 } from "../../src/tensor/small_floats.ts";

/** Every byte as numbers of each kind, with scales that make the smallest and the largest numbers of each dtype. */
function weightsOf(exponent: number): PackedTensor[] {
  const scale = 2 ** exponent * 1.37, rows = 3, inputs = 512;
  const pairs = tensor(Uint8Array.from({ length: rows * inputs / 2 }, (_, i) => i * 7), [1, rows, inputs / 2]);
  const values = tensor(Uint8Array.from({ length: rows * inputs }, (_, i) => i * 7), [1, rows, inputs]);
  const scales = (groups: number) => tensor(new Float32Array(rows * groups).fill(scale), [1, rows, groups]);
  const zeroPoints = tensor(Uint8Array.from({ length: rows * 16 }, (_, i) => i % 17), [1, rows, 16]);
  const shape = [1, rows, inputs];
  return [
    packed(
      "mxfp4",
      { values: pairs, scales: tensor(new Uint8Array(rows * 16).fill(exponent + 127), [1, rows, 16]) },
      shape,
    ),
    packed("int4", { values: pairs, scales: scales(4) }, shape),
    packed("int4", { values: pairs, scales: scales(16) }, shape, { signed: true }),
    packed("int4", { values: pairs, scales: scales(16), zeroPoints }, shape),
    packed("fp8", { values, scales: scales(1) }, shape),
  ];
}

Deno.test("decodeRows() has the bits of decode() for every number of each kind, with all sizes of scales", () => {
  const context = createContext(kernelModule());
  for (const exponent of [-127, -120, -30, -24, -14, -6, 0, 7, 13, 100, 127]) {
    for (const weight of weightsOf(exponent)) {
      for (const dtype of ["f32", "bf16", "f16"] as const satisfies readonly DType[]) {
        if (weight.format.kind === "mxfp4" && dtype === "f16" && !weight.format.exactInF16) continue;
        const actual = decodeAll(context, weight, dtype);
        const expected = convert(decode(weight, dtype), "f32").data;
        for (const [i, value] of expected.entries()) {
          const name = `${JSON.stringify(weight.format)} in ${dtype}, scale 2^${exponent}, element ${i}`;
          assert(Object.is(actual[i], value), `${name}: ${actual[i]} is not ${value}`);
        }
      }
    }
  }
});

/** Decodes the three rows with the kernel. */
function decodeAll(context: ReturnType<typeof createContext>, weight: PackedTensor, dtype: DType): Float32Array {
  const { kind, values, valueBytes, scales, scaleType, zeroPoints, group } = packedWeights(weight, dtype);
  const [, rows = 0, inputs = 0] = weight.shape, groups = inputs / group;
  const at = context.allocate({
    ...{ values: values.length + 64, raw: 4 * scales.length, scales: 4 * scales.length, zeros: 4 * scales.length },
    out: 4 * rows * inputs,
  });
  context.u8.set(values, at.values);
  new Uint8Array(context.u8.buffer).set(new Uint8Array(scales.slice().buffer), at.raw);
  context.kernels.widenScales(scaleType, at.raw, scales.length, 1, at.scales);
  if (zeroPoints) {
    context.u8.set(zeroPoints, at.raw);
    context.kernels.widenScales(U8, at.raw, zeroPoints.length, 1, at.zeros);
  }
  context.kernels.decodeRows(
    ...[wasmDType(dtype), kind, rows, at.values, valueBytes, at.scales, zeroPoints ? at.zeros : 0, 4 * groups] as const,
    ...[0, inputs, group, at.out, 4 * inputs] as const,
  );
  return context.f32.slice(at.out / 4, at.out / 4 + rows * inputs);
}

Deno.test("multiplyFewPairs() multiplies by the numbers of decode() for every byte of MXFP4, with every scale, from every input", () => {
  const context = createContext(kernelModule());
  const rows = 8, inputs = 64, groups = inputs / 32, valueBytes = inputs / 2, scaleBytes = 4 * groups;
  const at = context.allocate({
    ...{ a: 4 * inputs, values: rows * valueBytes + 64, raw: rows * groups, scales: rows * scaleBytes, c: 32 },
  });
  context.f32.fill(1, at.a / 4, at.a / 4 + inputs);
  const values = tensor(Uint8Array.from({ length: rows * valueBytes }, (_, i) => i), [1, rows, valueBytes]);
  context.u8.set(values.data as Uint8Array, at.values);
  for (let scale = 0; scale < 255; scale++) {
    // A row with another scale, so that a group has numbers of different sizes.
    const bytes = Uint8Array.from({ length: rows * groups }, (_, i) => i === 5 ? 127 : scale);
    context.u8.set(bytes, at.raw);
    context.kernels.widenScales(E8M0, at.raw, rows * groups, 1, at.scales);
    const weight = packed("mxfp4", { values, scales: tensor(bytes, [1, rows, groups]) }, [1, rows, inputs]);
    const expected = decode(weight, "f32").data;
    for (let k = 0; k < inputs; k++) {
      context.kernels.multiplyFewPairs(
        ...[F32, PACKED_E2M1, 1, 1, inputs, at.a, k, 1, at.values, valueBytes, 4 * valueBytes, 0] as const,
        ...[at.scales, 0, scaleBytes, 4 * scaleBytes, 0, E8M0, 32, at.c, at.c, true, true, false] as const,
      );
      for (let row = 0; row < rows; row++) {
        const actual = context.f32[at.c / 4 + row], value = expected[row * inputs + k]! + 0;
        assert(Object.is(actual, value), `scale ${scale}, row ${row}, input ${k}: ${actual} is not ${value}`);
      }
    }
  }
});

Deno.test("widenScales() converts every scale of one and two bytes", () => {
  const context = createContext(kernelModule());
  const at = context.allocate({ from: 2 * 65536, to: 4 * 65536 });
  const widen = (type: number, count: number, factor = 1) => {
    context.kernels.widenScales(type, at.from, count, factor, at.to);
    return context.f32.slice(at.to / 4, at.to / 4 + count);
  };
  for (let i = 0; i < 256; i++) context.u8[at.from + i] = i;
  assertEquals(widen(E4M3, 256), e4m3);
  assertEquals(widen(E4M3, 256, 0.1), e4m3.map((value) => value * Math.fround(0.1)));
  assertEquals(widen(E8M0, 255), e8m0.slice(0, 255));
  assertEquals(widen(U8, 256), Float32Array.from({ length: 256 }, (_, i) => i));
  for (let i = 0; i < 65536; i++) context.u16[at.from / 2 + i] = i;
  const halves = new Float16Array(Uint16Array.from({ length: 65536 }, (_, i) => i).buffer);
  assertEquals(widen(F16, 65536), Float32Array.from(halves));
});
