import { assert, assertEquals, assertThrows } from "@std/assert";
import { convert, tensor, zeros } from "../mod.ts";

Deno.test("tensor() keeps the array and finds its dtype", () => {
  const data = Float16Array.of(1, 2, 3, 4, 5, 6);
  const made = tensor(data, [2, 3]);
  assertEquals([made.dtype, made.shape], ["f16", [2, 3]]);
  assert(made.data === data);
  assertEquals(tensor(new Int32Array(4)).shape, [4]);
});

Deno.test("tensor() rejects invalid arguments", () => {
  assertThrows(
    () => tensor(new Float16Array(6), [2, 4]),
    RangeError,
    "data of shape [2, 4] must hold 8 elements, got 6",
  );
  assertThrows(() => tensor(new Float16Array(6), [-2, -3]), RangeError, "must hold non-negative integers, got -2");
  assertThrows(() => tensor([1, 2] as unknown as Float16Array), TypeError, "data must be a Float16Array");
});

Deno.test("tensor() takes bit patterns as bf16 where that is said", () => {
  const made = tensor(Uint16Array.of(0x3f80, 0), [2], "bf16");
  assertEquals([made.dtype, made.data.length], ["bf16", 2]);
  assertThrows(() => tensor(new Uint16Array(2)), TypeError, 'its dtype must be given as "bf16"');
  assertThrows(
    () => tensor(new Float16Array(2), [2], "bf16"),
    TypeError,
    "data of dtype bf16 must hold a Uint16Array, got Float16Array",
  );
});

Deno.test("convert() to f32 and back gives each of the 65536 bf16 patterns back", () => {
  const all = tensor(Uint16Array.from({ length: 65536 }, (_, i) => i), [65536], "bf16");
  const wide = convert(all, "f32");
  const back = convert(wide, "bf16");
  for (let i = 0; i < 65536; i++) {
    const isNaN = (i & 0x7fff) > 0x7f80;
    assertEquals(Number.isNaN(wide.data[i]), isNaN);
    assertEquals(back.data[i], isNaN ? i | 0x40 : i);
  }
});

Deno.test("convert() to bf16 rounds to the nearest, ties to even", () => {
  const bits = (word: number) => new Float32Array(Uint32Array.of(word).buffer)[0]!;
  const cases: [number, number][] = [
    [0x3f800000, 0x3f80],
    [0x3f807fff, 0x3f80],
    [0x3f808000, 0x3f80],
    [0x3f808001, 0x3f81],
    [0x3f818000, 0x3f82],
    [0xbf818000, 0xbf82],
    [0x7f7fffff, 0x7f80],
    [0xff800000, 0xff80],
    [0x00008001, 0x0001],
    [0x80000000, 0x8000],
  ];
  const source = tensor(Float32Array.from(cases, ([word]) => bits(word)));
  assertEquals([...convert(source, "bf16").data], cases.map(([, expected]) => expected));
  // A NaN whose payload is in the bits that are cut off.
  const hidden = tensor(new Float32Array(Uint32Array.of(0x7f800001).buffer));
  assertEquals(convert(hidden, "bf16").data[0]! & 0x7fff, 0x7fc0);
});

Deno.test("convert() rounds f32 to f16, copies what stays, and refuses integers", () => {
  assertEquals(convert(tensor(Float32Array.of(1.0006, 70000)), "f16").data[1], Infinity);
  const source = tensor(Float32Array.of(0.1));
  const copy = convert(source, "f32");
  assert(copy.data !== source.data);
  assertEquals(copy.data[0], source.data[0]);
  assertThrows(() => convert(source, "i32"), TypeError, "the target must be one of f16, bf16, f32");
  assertThrows(() => convert(tensor(new Int32Array(1)), "f32"), TypeError, "the source must be one of");
});

Deno.test("zeros() makes shared memory", () => {
  const made = zeros("i32", [3, 2]);
  assert(made.data.buffer instanceof SharedArrayBuffer);
  assertEquals(made.data, new Int32Array(new SharedArrayBuffer(24)));
  assertThrows(() => zeros("f16", [1.5]), RangeError, "must hold non-negative integers, got 1.5");
  assertThrows(() => zeros("f16", [2 ** 40, 8]), RangeError, "Cannot allocate [1099511627776, 8] of f16");
});
