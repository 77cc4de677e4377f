// Packed weights on an emulated Hopper, number by number.
import { assertEquals } from "@std/assert";
import { convert, decode, type DType, experts, type PackedTensor } from "../../mod.ts";
import { fp8Numbers, int4Numbers, numbersInputs, numbersOptions, nvfp4Numbers } from "../packed_numbers.ts";
import { SmallRandom } from "../small_random.ts";
import { toolkit } from "../toolkit.ts";
import { emulated, openEmulated } from "./emulated.ts";

interface Case {
  readonly name: string;
  readonly dtype: DType;
  readonly tileRows: number;
  make(random: SmallRandom): [PackedTensor, PackedTensor];
}

const cases: readonly Case[] = [
  { name: "int4 with groups of 32", dtype: "bf16", tileRows: 16, make: (random) => int4Numbers(random, [-114, 6], 32) },
  { name: "int4 with groups of 64", dtype: "bf16", tileRows: 16, make: (random) => int4Numbers(random, [-114, 6], 64) },
  { name: "NVFP4", dtype: "bf16", tileRows: 64, make: (random) => nvfp4Numbers(random, [-108, -10]) },
  { name: "NVFP4", dtype: "bf16", tileRows: 16, make: (random) => nvfp4Numbers(random, [-20, -10]) },
  { name: "NVFP4", dtype: "f16", tileRows: 64, make: (random) => nvfp4Numbers(random, [-24, -10]) },
  {
    name: "FP8 with a scale for each row",
    dtype: "bf16",
    tileRows: 64,
    make: (random) => fp8Numbers(random, [-64, 6], 1),
  },
  {
    name: "FP8 with a scale for each row",
    dtype: "f16",
    tileRows: 64,
    make: (random) => fp8Numbers(random, [-20, -4], 1),
  },
  {
    name: "FP8 with a scale for 64 rows",
    dtype: "bf16",
    tileRows: 16,
    make: (random) => fp8Numbers(random, [-20, 6], 64),
  },
  {
    name: "FP8 with a scale for 64 rows",
    dtype: "f16",
    tileRows: 64,
    make: (random) => fp8Numbers(random, [-20, -4], 64),
  },
];

for (const { name, dtype, tileRows, make } of cases) {
  Deno.test({
    name:
      `cuda, ${emulated}, sm_90: each number of ${name} is the decoded weight in ${dtype}, tiles of ${tileRows} rows`,
    ignore: !toolkit,
    fn: async () => {
      const [gateUpProj, downProj] = make(new SmallRandom(tileRows)), [E = 0, , size = 0] = gateUpProj.shape;
      using backend = (await openEmulated(90, tileRows)).backend;
      const out = await experts(numbersInputs([gateUpProj, downProj], dtype), { ...numbersOptions, backend });

      const actual = convert(out, "f32").data, expected = convert(decode(gateUpProj, dtype), "f32").data;
      for (let t = 0; t < E * size; t++) {
        for (let i = 0; i < size; i++) {
          const weight = expected[(Math.floor(t / size) * 2 * size + size + i) * size + t % size];
          const value = actual[t * size + i];
          if (value !== weight) assertEquals(value, weight, `token ${t}, output ${i}`); // only the signs of zeros may differ
        }
      }
    },
  });
}
