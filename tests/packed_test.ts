// Packed tensors on the host: what is made, what is decoded, what is refused.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { decode, packed, type PackedOptions, type PackedParts, type PackedTensor, tensor } from "../mod.ts";
import { weightBytes } from "../src/contract/weights.ts";
import { variants } from "./packed_inputs.ts";
import { SmallRandom } from "./small_random.ts";

const u8 = (shape: number[], ...bytes: number[]) =>
  tensor(Uint8Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => bytes[i % bytes.length] ?? 0), shape);
const f32 = (shape: number[], ...values: number[]) =>
  tensor(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => values[i % values.length] ?? 0),
    shape,
  );

const values = (weight: PackedTensor) => [...decode(weight, "f32").data];

Deno.test("packed: the value of a weight in each format, by hand", () => {
  const mxfp4 = packed("mxfp4", { values: u8([1, 1, 16], 0x21, 0xfe), scales: u8([1, 1, 1], 128) }, [1, 1, 32]);
  assertEquals(values(mxfp4).slice(0, 4), [1, 2, -8, -12]);
  const nvfp4 = packed("nvfp4", {
    values: u8([1, 2, 8], 0x21, 0xfe),
    scales: u8([1, 2, 1], 0x38, 0x40), // 1 and 2
    globalScales: f32([1, 2], 10, 0.5),
  }, [1, 2, 16]);
  assertEquals(values(nvfp4).slice(0, 4), [5, 10, -40, -60]);
  assertEquals(values(nvfp4).slice(16, 20), [0.5, 1, -4, -6]);
  const numbers = u8([1, 1, 16], 0x80, 0x1f), scales = f32([1, 1, 1], 2);
  const int4 = (more: Partial<PackedParts>, options?: PackedOptions) =>
    values(packed("int4", { values: numbers, scales, ...more }, [1, 1, 32], options)).slice(0, 4);
  assertEquals(int4({}), [-16, 0, 14, -14]);
  assertEquals(int4({}, { signed: true }), [0, -16, -2, 2]);
  assertEquals(int4({ zeroPoints: u8([1, 1, 1], 16) }), [-32, -16, -2, -30]);
  const fp8 = packed(
    "fp8",
    {
      values: u8([1, 3, 2], 0x38, 0xc0, 0x01, 0x7e), // 1, -2, 2^-9, 448
      scales: u8([1, 2, 1], 127, 130), // 1 and 8
    },
    [1, 3, 2],
    { block: [2, 2] },
  );
  assertEquals(values(fp8), [1, -2, 2 ** -9, 448, 8, -16]);
});

Deno.test("packed: each product is rounded to f32, and the value once to the dtype", () => {
  const third = Math.fround(1 / 3), e4m3 = 1.125;
  const weight = packed("nvfp4", {
    values: u8([1, 1, 8], 0x53),
    scales: u8([1, 1, 1], 0x39),
    globalScales: f32([1], third),
  }, [1, 1, 16]);
  const scale = Math.fround(e4m3 * third);
  assertEquals(values(weight).slice(0, 2), [Math.fround(1.5 * scale), Math.fround(3 * scale)]);
  assertEquals(decode(weight, "f16").data[0], Math.f16round(Math.fround(1.5 * scale)));
});

Deno.test("packed: the bytes are those of the parts", () => {
  for (const { name, make } of variants) {
    const { format, shape, parts } = make(new SmallRandom(1), [3, 34, 256], 1);
    const bytes = Object.values<typeof parts.values>({ ...parts } as Record<string, typeof parts.values>)
      .reduce((sum, { data }) => sum + data.byteLength, 0);
    assertEquals(weightBytes(format, shape), bytes, name);
  }
});

Deno.test("packed: mxfp4 is refused in f16 if a weight is not a number of f16", () => {
  const make = (scale: number, ...bytes: number[]) =>
    packed("mxfp4", { values: u8([1, 1, 16], ...bytes), scales: u8([1, 1, 1], scale) }, [1, 1, 32]);
  for (
    const [scale, bytes, exact] of [[104, [0x31], true], [103, [0x31], false], [103, [0x20], true], [
      0,
      [0x80],
      true,
    ]] as const
  ) {
    assertEquals(make(scale, ...bytes).format, { kind: "mxfp4", exactInF16: exact });
  }
  assertEquals(make(140, 0x70).format, { kind: "mxfp4", exactInF16: true });
  assertEquals(make(141, 0x70).format, { kind: "mxfp4", exactInF16: false });
  assertThrows(() => decode(make(141, 0x70), "f16"), RangeError, "Cannot decode weight to f16: some of its weights");
  assertEquals(decode(make(141, 0x70), "bf16").data[1], 0x47c0); // 6 · 2^14
});

Deno.test("packed: wrong parts are refused by name", () => {
  const good: PackedParts = { values: u8([2, 4, 16], 0), scales: u8([2, 4, 1], 127) };
  const make = (kind: string, parts: object, shape = [2, 4, 32], options?: object) => () =>
    packed(kind as "mxfp4", parts as PackedParts, shape, options as PackedOptions);
  const cases: [() => unknown, string][] = [
    [make("mxfp5", good), 'format must be one of mxfp4, nvfp4, int4, fp8, got "mxfp5"'],
    [make("mxfp4", { ...good, scales: undefined }), "scales must be a tensor, got undefined"],
    [make("mxfp4", { ...good, scale: good.scales }), 'Unknown member "scale" of parts: did you mean "scales"?'],
    [make("mxfp4", good, [2, 4]), "shape must be [E, out, in] with at least one element, got [2, 4]"],
    [make("mxfp4", good, [2, 4, 48]), "The inputs of mxfp4 must be a multiple of 32, got 48"],
    [make("mxfp4", { ...good, values: f32([2, 4, 16], 0) }), "values must be of dtype u8 for mxfp4, got f32"],
    [
      make("mxfp4", { ...good, scales: u8([2, 4, 2], 1) }),
      "scales must have shape [2, 4, 1] for mxfp4 of shape [2, 4, 32], got [2, 4, 2]",
    ],
    [make("mxfp4", { ...good, scales: u8([2, 4, 1], 1, 255) }), "scales must be finite, got the bits 255 at element 1"],
    [make("mxfp4", { ...good, zeroPoints: good.scales }), "zeroPoints must not be given for mxfp4"],
    [make("mxfp4", good, [2, 4, 32], { signed: true }), "signed must only be given for int4, got mxfp4"],
    [make("int4", { ...good, scales: f32([2, 4, 3], 1) }), "scales must have shape [E, out, in / group] with a group"],
    [make("int4", good), "scales must be of dtype f16, bf16, f32 for int4, got u8"],
    [
      make("int4", { ...good, scales: f32([2, 4, 1], 1), zeroPoints: u8([2, 4, 1], 3, 17) }),
      "zeroPoints must be integers from 0 to 16, got 17 at element 1",
    ],
    [
      make("int4", { ...good, scales: f32([2, 4, 1], 1), zeroPoints: u8([2, 4, 1], 3) }, [2, 4, 32], { signed: true }),
      "zeroPoints must not be given for int4 with signed integers",
    ],
    [make("int4", { ...good, scales: f32([2, 4, 1], 1, NaN) }), "scales must be finite, got NaN at element 1"],
    [
      make("nvfp4", { ...good, scales: u8([2, 4, 2], 1, 0x7f), globalScales: f32([2], 1) }),
      "scales must be finite, got the bits 127 at element 1",
    ],
    [make("int4", { ...good, scales: f32([2, 4, 1], 1), zeroPoints: null }), "zeroPoints must be a tensor, got null"],
    [make("nvfp4", { ...good, scales: u8([2, 4, 2], 1) }), "globalScales must be a tensor, got undefined"],
    [
      make("fp8", { ...good, scales: f32([2, 3, 1], 1) }, [2, 4, 16]),
      "scales must have a scale for all, for each or for",
    ],
    [
      make("fp8", { ...good, scales: f32([2, 1, 1], 1) }, [2, 4, 16], { block: [0, 1] }),
      "block must be two integers of at least 1, got Array",
    ],
    [
      make("fp8", { ...good, scales: f32([2, 1, 1], 1) }, [2, 4, 16], { block: null }),
      "block must be two integers of at least 1, got null",
    ],
  ];
  for (const [run, message] of cases) assertThrows(run, Error, message);
  assert(Object.isFrozen(packed("mxfp4", good, [2, 4, 32])));
});

Deno.test("packed and decode name a value that is not what they take", () => {
  const parts = { values: u8([1, 1, 16]), scales: u8([1, 1, 1], 127) };
  const of = (value: unknown) => value as never;
  assertThrows(() => packed("mxfp4", of(null), [1, 1, 32]), TypeError, "parts must be an object, got null");
  assertThrows(() => packed("mxfp4", parts, [1, 1, 32], of(null)), TypeError, "options must be an object, got null");
  assertThrows(() => decode(of(null), "f32"), TypeError, "weight must be an object, got null");
  const weight = packed("mxfp4", parts, [1, 1, 32]);
  const message = "weight must be a packed tensor, as packed() makes it, got Object";
  for (const wrong of [parts.values, { ...weight, format: null }, { ...weight, format: { kind: "mxfp5" } }]) {
    assertThrows(() => decode(of(wrong), "f32"), TypeError, message);
  }
  assertThrows(() => decode(of({ ...weight, parts: null }), "f32"), TypeError, "weight.parts must be an object");
});
