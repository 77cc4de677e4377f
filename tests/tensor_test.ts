import { assert, assertEquals, assertThrows } from "@std/assert";
import { tensor, zeros } from "../mod.ts";

Deno.test("tensor() keeps the array and finds its dtype", () => {
  const data = Float16Array.of(1, 2, 3, 4, 5, 6);
  const made = tensor(data, [2, 3]);
  assertEquals([made.dtype, made.shape], ["f16", [2, 3]]);
  assert(made.data === data);
  assertEquals(tensor(new Int32Array(4)).shape, [4]);
});

Deno.test("tensor() refuses what is no tensor", () => {
  assertThrows(
    () => tensor(new Float16Array(6), [2, 4]),
    RangeError,
    "data of shape [2, 4] must hold 8 elements, got 6",
  );
  assertThrows(() => tensor(new Float16Array(6), [-2, -3]), RangeError, "must hold non-negative integers, got -2");
  assertThrows(() => tensor([1, 2] as unknown as Float16Array), TypeError, "data must be a Float16Array");
});

Deno.test("zeros() makes shared memory", () => {
  const made = zeros("i32", [3, 2]);
  assert(made.data.buffer instanceof SharedArrayBuffer);
  assertEquals(made.data, new Int32Array(new SharedArrayBuffer(24)));
  assertThrows(() => zeros("f16", [1.5]), RangeError, "must hold non-negative integers, got 1.5");
});
