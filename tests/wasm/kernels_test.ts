import { assert, assertEquals } from "@std/assert";
import fc from "../fast_check.ts";
import { fromBfloat16, toBfloat16 } from "../../src/tensor/bfloat16.ts";
import { buildKernels } from "../../src/wasm/build.ts";
import { createContext } from "../../src/wasm/context.ts";
import { wasmDType } from "../../src/wasm/elements.ts";
import { kernelModule } from "../../src/wasm/module.ts";

const f16 = wasmDType("f16");

Deno.test("kernels.ts is the compiled assembly/", async () => {
  const committed = await Deno.readTextFile(new URL("../../src/wasm/kernels.ts", import.meta.url));
  assert(await buildKernels() === committed, "run `deno task build:wasm`");
});

Deno.test("combine() with one slot of weight one returns each of the 65536 f16 patterns", () => {
  const context = createContext(kernelModule());
  const count = 65536;
  const at = context.allocate({ rows: count * 2, weights: 4, out: count * 2 });
  const rows = context.u16.subarray(at.rows / 2, at.rows / 2 + count);
  for (let i = 0; i < count; i++) rows[i] = i;
  context.f32[at.weights / 4] = 1;
  context.kernels.combine(f16, at.rows, count * 2, at.weights, 1, count, at.out);
  for (let i = 0; i < count; i++) {
    const value = context.f16[at.rows / 2 + i]!, result = context.f16[at.out / 2 + i]!;
    // The sum starts at +0, so -0 becomes +0.
    assert(Object.is(result, value === 0 ? 0 : value), `pattern ${i}: ${value} became ${result}`);
  }
});

for (const dtype of ["f16", "bf16"] as const) {
  for (const pairs of [false, true]) {
    Deno.test(`widen() and multiplyFew() are exact for each of the 65536 patterns of ${dtype}${pairs ? ", in pairs" : ""}`, () => {
      const context = createContext(kernelModule());
      const count = 65536;
      const at = context.allocate({ source: count * 2, out: count * 4, a: 24, c: count * 4, ordered: count * 4 });
      context.f32.fill(1, at.a / 4, at.a / 4 + 1);
      // In ascending order, eight neighbours are all special or all normal. Scattered, they are mixed.
      for (const step of [1, 40503]) {
        const source = context.u16.subarray(at.source / 2, at.source / 2 + count).map((_, i) => i * step);
        context.u16.set(source, at.source / 2);
        context.kernels.widen(wasmDType(dtype), pairs, at.source, 0, 1, count / 8, 16, 8, at.out, 0, 32, 16);
        const expected = new Float32Array(count);
        if (dtype === "f16") expected.set(new Float16Array(source.buffer));
        else fromBfloat16(source, expected);
        const placeOf = (i: number) => pairs ? (i & ~7) + ((i & 1) << 2) + (i >> 1 & 3) : i;
        for (let i = 0; i < count; i++) {
          assert(Object.is(context.f32[at.out / 4 + placeOf(i)], expected[i]), `pattern ${source[i]}`);
        }
        // The patterns as weights of a product with a row of ones. The sums are those of pairs, and then in order.
        const groups = count / 8, code = wasmDType(dtype);
        const { kernels } = context;
        kernels.multiplyFew(code, true, 1, groups, 1, at.a, 0, 1, at.source, 0, at.c, at.c, true, true, false);
        if (!pairs) kernels.orderFew(false, 1, groups, at.c, at.ordered);
        const sums = pairs ? at.c : at.ordered;
        for (let i = 0; i < count; i++) {
          assert(Object.is(context.f32[sums / 4 + placeOf(i)], expected[i]! + 0), `weight ${source[i]}`);
        }
      }
    });
  }
}

Deno.test("orderFew() moves the sums of pairs to the order of their columns, also of an odd number of groups", () => {
  const context = createContext(kernelModule());
  const rows = 3;
  for (const groups of [1, 4, 5]) {
    const columns = groups * 8;
    const at = context.allocate({ sums: rows * columns * 4, out: rows * columns * 4 });
    for (let column = 0; column < columns; column++) {
      const place = (column & 1) * 4 + (column >> 1 & 3);
      for (let r = 0; r < rows; r++) {
        context.f32[at.sums / 4 + ((column >> 3) * rows + r) * 8 + place] = 1000 * r + column;
      }
    }
    for (const split of [false, true]) {
      context.kernels.orderFew(split, rows, groups, at.sums, at.out);
      for (let g = 0; g < groups; g++) {
        for (let r = 0; r < rows; r++) {
          const from = at.out / 4 + (g * rows + r) * 8;
          const high = split ? columns / 2 + 4 * g : 8 * g + 4, low = split ? 4 * g : 8 * g;
          const expected = [0, 1, 2, 3].flatMap((i) => [low + i, high + i]).map((column) => 1000 * r + column);
          const actual = [0, 1, 2, 3].flatMap((i) => [context.f32[from + i]!, context.f32[from + 4 + i]!]);
          assertEquals(actual, expected, `group ${g}, row ${r}${split ? ", split" : ""}`);
        }
      }
    }
  }
});

Deno.test("store() rounds f32 to bf16 like toBfloat16(), and keeps NaN", () => {
  const context = createContext(kernelModule());
  const at = context.allocate({ c: 32, bias: 32, out: 16 });
  const words = fc.array(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), { minLength: 8, maxLength: 8 });
  const property = fc.property(words, (words) => {
    const values = new Float32Array(Int32Array.from(words).buffer);
    context.f32.set(values, at.c / 4);
    context.f32.fill(-0, at.bias / 4, at.bias / 4 + 8); // -0 keeps the sign of zeros
    context.kernels.store(wasmDType("bf16"), 0, false, at.c, 1, 1, 32, 32, 16, at.bias, 0, 0, at.out, 16);
    const expected = new Uint16Array(8);
    toBfloat16(values, expected);
    for (let i = 0; i < 8; i++) {
      const actual = context.u16[at.out / 2 + i]!;
      if (Number.isNaN(values[i])) assert((actual & 0x7fff) > 0x7f80, `NaN became ${actual}`);
      else assertEquals(actual, expected[i]);
    }
  });
  fc.assert(property, { numRuns: 1000, seed: 1 });
});

Deno.test("store() rounds f32 to f16 like Math.f16round", () => {
  const context = createContext(kernelModule());
  const at = context.allocate({ c: 192, bias: 32, out: 96 });
  const round = (values: readonly number[]) => {
    context.f32.set(values, at.c / 4);
    context.f32.fill(0, at.bias / 4, at.bias / 4 + 8);
    context.kernels.store(f16, 0, false, at.c, 6, 1, 32, 192, 16, at.bias, 0, 0, at.out, 16);
    return [...context.f16.subarray(at.out / 2, at.out / 2 + values.length)];
  };
  const halves = [
    0,
    2 ** -24,
    2 ** -14,
    2 ** -14 - 2 ** -24,
    1,
    2047,
    2049,
    65504,
    65519.996,
    65520,
    1e6,
    Infinity,
    NaN,
  ];
  const edges = halves.flatMap((
    x,
  ) => [x, -x, x * (1 + 2 ** -11), x * (1 + 2 ** -12), x * (1 - 2 ** -12), x + 2 ** -25]);
  for (let i = 0; i < edges.length; i += 48) {
    const part = edges.slice(i, i + 48).map(Math.fround);
    assertEquals(round(part), part.map((x) => Math.f16round(x) + 0));
  }
  const floats = fc.array(fc.float({ noNaN: true }), { minLength: 48, maxLength: 48 });
  const small = fc.array(fc.float({ min: Math.fround(-70000), max: Math.fround(70000), noNaN: true }), {
    minLength: 48,
    maxLength: 48,
  });
  fc.assert(
    fc.property(
      fc.oneof(floats, small),
      (values) => assertEquals(round(values), values.map((x) => Math.f16round(x) + 0)),
    ),
    { numRuns: 500, seed: 1 },
  );
});

Deno.test("normals() in f16 and bf16 are the normals in f32, rounded, scaled in f32 and rounded again", () => {
  const context = createContext(kernelModule());
  const count = 1 << 18;
  const at = context.allocate({ words: (624 + count) * 4, normals: count * 4, rounded: count * 2 });
  for (let i = 0; i < 624; i++) context.u32[at.words / 4 + i] = Math.imul(i + 1, 0x9e3779b1);
  context.kernels.twist(at.words, count);
  // A radius of zero, and angles of 0, 1/4, 1/2 and 3/4 of a turn: zeros of both signs, and the values next to them.
  for (let i = 0; i < 64; i++) context.u32[at.words / 4 + i] = i & 8 ? i >> 4 << 22 : i & 7;
  context.kernels.normals(wasmDType("f32"), at.words, count, at.normals, 1);
  const normals = context.f32.slice(at.normals / 4, at.normals / 4 + count);
  const expected = new Uint16Array(count);
  for (const scale of [1, 0.5, -0.1, 0.02, 1e-5, 3, 1e5]) {
    const check = (dtype: "f16" | "bf16") => {
      context.kernels.normals(wasmDType(dtype), at.words, count, at.rounded, scale);
      const rounded = context.u16.subarray(at.rounded / 2, at.rounded / 2 + count);
      for (let i = 0; i < count; i++) {
        assert(rounded[i] === expected[i], `${dtype}, scale ${scale}: ${normals[i]} became ${rounded[i]}`);
      }
    };
    new Float16Array(expected.buffer).set(normals.map((x) => Math.f16round(x) * Math.fround(scale)));
    check("f16");

    const values = new Float32Array(count);
    toBfloat16(normals, expected);
    fromBfloat16(expected, values);
    toBfloat16(values.map((x) => x * Math.fround(scale)), expected);
    check("bf16");

    context.kernels.normals(wasmDType("f32"), at.words, count, at.normals, scale);
    const scaled = context.f32.subarray(at.normals / 4, at.normals / 4 + count);
    assert(scaled.every((x, i) => Object.is(x, Math.fround(normals[i]! * Math.fround(scale)))), `f32, scale ${scale}`);
  }
});

Deno.test("statistics() returns sums and bounds, and keeps NaN", () => {
  const context = createContext(kernelModule());
  const at = context.allocate({ values: 64, out: 32 });
  const run = (values: readonly number[]) => {
    context.f16.set(values, at.values / 2);
    context.kernels.statistics(f16, at.values, values.length, at.out);
    return [...context.f64.subarray(at.out / 8, at.out / 8 + 4)];
  };
  assertEquals(run([1, -2, 3, -4, 5, 0.5, 0, 8]), [11.5, 23.5, -4, 8]);
  assertEquals(run([1, NaN, 3, 4]), [NaN, NaN, NaN, NaN]);
});
