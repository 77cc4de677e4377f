import { assertEquals } from "@std/assert";
import type { Checkpoint } from "../../src/models/checkpoint/checkpoint.ts";
import type { StoredWeight } from "../../src/models/formats/stored_weight.ts";
import { readPiece } from "../../src/models/checkpoint/read_part.ts";

Deno.test("readPiece() decodes each matrix once, however the pieces divide it", async () => {
  for (const isTransposed of [false, true]) {
    for (const length of [1, 5, 6, 7, 13, 18]) {
      const decoded: number[] = [];
      const weight: StoredWeight = {
        ...{ format: "test", shape: [4, 2, 3], dtype: "f32" as const, tensors: [], isDense: false },
        decode(index: number) {
          decoded.push(index);
          return Promise.resolve(Float32Array.from({ length: 6 }, (_, i) => 10 * index + i));
        },
      };
      const part = { weight, first: 1, count: 3, start: 0, isTransposed };
      const result = new Float32Array(18);
      for (let start = 0; start < 18; start += length) {
        const data = result.subarray(start, start + length);
        await readPiece(undefined as unknown as Checkpoint, [part], { data, dtype: "f32", start }, () => {});
      }
      const order = isTransposed ? [0, 3, 1, 4, 2, 5] : [0, 1, 2, 3, 4, 5];
      assertEquals([...result], [1, 2, 3].flatMap((index) => order.map((i) => 10 * index + i)));
      assertEquals(decoded, [1, 2, 3]);
    }
  }
});
