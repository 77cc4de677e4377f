// Runs small jobs with packed weights on every packed tile of Hopper, or on those whose rows are given as arguments. Tiles
// have more steps than their ring has stages, so that stages are used again. Results must have the bits of decoded weights.
// `gpu:check` runs this file directly and under compute-sanitizer.
import { assertEquals } from "@std/assert";
import { openCudaBackend } from "../../src/cuda/backend.ts";
import { experts } from "../../src/ops/experts.ts";
import { decode } from "../../mod.ts";
import { variantNamed } from "../packed_inputs.ts";
import { randomInputs } from "../random_inputs.ts";
import { SmallRandom } from "../small_random.ts";

const formats = [
  { name: "fp8 of rows", dtypes: ["bf16", "f16"] },
  { name: "int4 of 128, zero points", dtypes: ["bf16"] },
] as const;

/** A ring has at most 6 stages of four steps, or 14, 8 and 7 of one. A step has 64 columns. */
const tiles = [
  { tileRows: 16, tokens: 9, hidden: 1664 },
  { tileRows: 64, tokens: 9, hidden: 1024 }, // multiplied by warps
  { tileRows: 64, tokens: 40, hidden: 1024 },
  { tileRows: 160, tokens: 100, hidden: 640 },
  { tileRows: 192, tokens: 100, hidden: 512 },
];

const wanted = Deno.args.map(Number);
let compared = 0;
for (const { tileRows, tokens, hidden } of tiles) {
  if (wanted.length > 0 && !wanted.includes(tileRows)) continue;
  using backend = await openCudaBackend({ tileRows });
  const call = { weightLayout: "out-in", backend } as const;
  for (const { name, dtypes } of formats) {
    const { make } = variantNamed(name);
    for (const dtype of dtypes) {
      const random = new SmallRandom(compared), shape = { T: tokens, H: hidden, I: 128, E: 1, K: 1 };
      const inputs = randomInputs(shape, compared, { dtype, weightLayout: "out-in" });
      const gateUpProj = make(random, [1, 256, hidden], 0.1), downProj = make(random, [1, hidden, 128], 0.1);
      const output = await experts({ ...inputs, gateUpProj, downProj }, call);
      const decoded = { gateUpProj: decode(gateUpProj, dtype), downProj: decode(downProj, dtype) };
      const expected = await experts({ ...inputs, ...decoded }, call);
      assertEquals(output.data, expected.data, `${name}, ${dtype}, tiles of ${tileRows} rows`);
      compared += 1;
    }
  }
}
console.log(`${compared} results of packed tiles have the bits of decoded weights`);
