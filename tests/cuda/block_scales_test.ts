// Scales that the kernels with blocks of weights cannot decode.
import { assertThrows } from "@std/assert";
import { packed, type Tensor, tensor } from "../../mod.ts";
import { checkScales } from "../../src/cuda/upload_packed.ts";

/** A weight of integers with a bf16 scale for each of its rows, given as bits. */
function int4Weight(...bits: readonly number[]) {
  const values = tensor(new Uint8Array(bits.length * 16), [1, bits.length, 16]);
  const scales: Tensor = { dtype: "bf16", shape: [1, bits.length, 1], data: new Uint16Array(bits) };
  return packed("int4", { values, scales }, [1, bits.length, 32]);
}

Deno.test("cuda: scales of integers in bf16 are below 2^121 in magnitude", () => {
  checkScales(int4Weight(0x3c00, 0x7bff, 0xfbff)); // the largest below, of both signs
  for (const bits of [0x7c00, 0xfc00, 0x7f7f]) {
    assertThrows(
      () => checkScales(int4Weight(0x3c00, bits)),
      RangeError,
      "scales must be below 2^121 on this GPU, got a larger one at element 1",
    );
  }
});

Deno.test("cuda: the global scales of NVFP4 are below 2^105 in magnitude", () => {
  const weight = (...globals: readonly number[]) => {
    const bytes = (inputs: number) => tensor(new Uint8Array(globals.length * inputs), [globals.length, 1, inputs]);
    const globalScales = tensor(new Float32Array(globals), [globals.length]);
    return packed("nvfp4", { values: bytes(8), scales: bytes(1), globalScales }, [globals.length, 1, 16]);
  };
  checkScales(weight(2 ** 104.99, -(2 ** 104.99)));
  for (const huge of [2 ** 105, -(2 ** 105), 2 ** 127]) {
    assertThrows(
      () => checkScales(weight(1, huge), 4),
      RangeError,
      "globalScales must be below 2^105 on this GPU, got a larger one at element 5",
    );
  }
});
