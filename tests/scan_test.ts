import { assertEquals } from "@std/assert";
import { areBf16Within, areWithin, firstAbove, firstNotFinite } from "../src/tensor/scan.ts";
import { convert, tensor } from "../mod.ts";

Deno.test("areWithin() and firstAbove() find every byte that is out of range, wherever it is", () => {
  const ranges = [[0, 128], [104, 140], [128, 127], [1, 254], [0, 255]] as const;
  for (const [minimum, maximum] of ranges) {
    const inside = Math.min(Math.max(minimum, 120), maximum);
    for (let offset = 0; offset < 4; offset++) {
      for (let at = 0; at < 11; at++) {
        for (let byte = 0; byte < 256; byte++) {
          const bytes = new Uint8Array(16).subarray(offset, offset + 11).fill(inside);
          bytes[at] = byte;
          const expected = bytes.every((value) => value >= minimum && value <= maximum);
          assertEquals(areWithin(bytes, minimum, maximum), expected, `${byte} in ${minimum} to ${maximum}`);
          assertEquals(firstAbove(bytes, maximum), bytes.findIndex((value) => value > maximum));
        }
      }
    }
  }
});

Deno.test("Every element of a long array is looked at", () => {
  for (const length of [32, 75, 128]) {
    for (let at = 0; at < length; at++) {
      const bytes = new Uint8Array(length + 1).subarray(1).fill(120), numbers = new Uint16Array(length).fill(0x3f80);
      bytes[at] = 0xff;
      numbers[at] = 0x7f80;
      assertEquals([areWithin(bytes, 104, 140), firstNotFinite(bytes, "e4m3")], [false, at]);
      assertEquals(firstNotFinite(numbers, "bf16"), at);
    }
  }
});

Deno.test("areWithin() is right for neighbors that borrow from each other", () => {
  for (let a = 0; a < 256; a++) {
    for (let b = 0; b < 256; b++) {
      const expected = [a, b].every((value) => value >= 104 && value <= 140);
      assertEquals(areWithin(new Uint8Array([120, a, b, 120]), 104, 140), expected, `${a}, ${b}`);
    }
  }
});

Deno.test("areWithin() takes arrays that are shorter than a word, at any offset", () => {
  for (let offset = 0; offset < 4; offset++) {
    for (let length = 0; length < 4; length++) {
      const bytes = new Uint8Array(offset + length).subarray(offset).fill(150);
      assertEquals(areWithin(bytes, 104, 140), length === 0);
      assertEquals(areWithin(bytes, 104, 150), true);
    }
  }
});

Deno.test("firstNotFinite() finds infinities and NaN in each dtype, wherever they are", () => {
  for (const dtype of ["f16", "bf16", "f32"] as const) {
    for (const value of [Infinity, -Infinity, NaN]) {
      for (let offset = 0; offset < 3; offset++) {
        for (let at = 0; at < 9; at++) {
          const values = new Float32Array(12).fill(-65504);
          values[offset + at] = value;
          const { data } = convert(tensor(values), dtype);
          assertEquals(firstNotFinite(data.subarray(offset, offset + 9), dtype), at);
          assertEquals(firstNotFinite(data.subarray(offset, offset + at), dtype), -1);
        }
      }
    }
  }
});

Deno.test("firstNotFinite() finds every bit pattern that is not finite, beside every other", () => {
  for (let byte = 0; byte < 256; byte++) {
    for (let other = 0; other < 256; other++) {
      const isNaN = (bits: number) => (bits & 127) === 127;
      const bytes = new Uint8Array([other, byte, other, other, 0, byte]);
      assertEquals(firstNotFinite(bytes, "e4m3"), bytes.findIndex(isNaN), `${byte}, ${other}`);
    }
  }
  for (const [dtype, mask] of [["f16", 0x7c00], ["bf16", 0x7f80]] as const) {
    for (let bits = 0; bits < 65536; bits++) {
      const neighbors = new Uint16Array([0x7bff, bits, 0xfb7f, 0x7f]);
      const expected = (bits & mask) === mask ? 1 : -1;
      const clean = neighbors.every((other, i) => i === 1 || (other & mask) !== mask);
      if (clean) assertEquals(firstNotFinite(neighbors, dtype), expected, `${dtype} ${bits}`);
    }
  }
});

Deno.test("areBf16Within() finds every number that is out of range, wherever it is, beside every other", () => {
  const ranges = [[0x0680, 0x4300], [1, 0x8000]] as const;
  for (const [minimum, limit] of ranges) {
    const isWithin = (bits: number) => (bits & 0x7fff) === 0 || (bits & 0x7fff) >= minimum && (bits & 0x7fff) < limit;
    for (let bits = 0; bits < 65536; bits++) {
      for (const other of [0, minimum, limit - 1 | 0x8000]) {
        for (const pair of [[bits, other], [other, bits]]) {
          const actual = areBf16Within(new Uint16Array(pair), minimum, limit);
          if (actual !== isWithin(bits)) assertEquals(actual, isWithin(bits), `${pair}`); // fewer assertions take less time
        }
      }
    }
  }
  for (const length of [1, 2, 33, 75]) {
    for (let offset = 0; offset < 2; offset++) {
      for (let at = 0; at < length; at++) {
        for (const [bits, expected] of [[0x4300, false], [0x067f, false], [0x42ff, true], [0x0680, true]] as const) {
          const numbers = new Uint16Array(length + offset).subarray(offset).fill(0x3c00);
          numbers[at] = bits;
          assertEquals(areBf16Within(numbers, 0x0680, 0x4300), expected, `${bits} at ${at} of ${length}`);
        }
      }
    }
  }
});
