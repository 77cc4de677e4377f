// NVFP4 weights on an emulated Hopper, number by number.
import { assertEquals } from "@std/assert";
import { convert, decode, experts, packed, type PackedTensor, tensor } from "../../mod.ts";
import { SmallRandom } from "../small_random.ts";
import { toolkit } from "../toolkit.ts";
import { emulated, openEmulated } from "./emulated.ts";

const [E, size] = [6, 64];
const one = { number: 2, scale: 0x38 };

/** The number of E2M1 and the scale of E4M3 of an element, as bits. */
type Element = (row: number, column: number) => { readonly number: number; readonly scale: number };

/** Makes the same matrix [rows, size] for each expert, with one global scale, or one for each half of the rows. */
function weights(rows: number, element: Element, globalScales: Float32Array<ArrayBuffer>): PackedTensor {
  const values = new Uint8Array(E * rows * size / 2), scales = new Uint8Array(E * rows * size / 16);
  for (let i = 0; i < E * rows * size; i++) {
    const { number, scale } = element(Math.floor(i / size) % rows, i % size);
    values[i >> 1]! |= number << i % 2 * 4;
    scales[i >> 4] = scale;
  }
  const parts = { values: tensor(values, [E, rows, size / 2]), scales: tensor(scales, [E, rows, size / 16]) };
  const halves = globalScales.length > E;
  const globals = tensor(globalScales, halves ? [E, 2] : [E]);
  const order = halves ? { gateUpLayout: "concatenated" } as const : {};
  return packed("nvfp4", { ...parts, globalScales: globals }, [E, rows, size], order);
}

for (const [rows, dtype, smallest] of [[64, "bf16", -108], [16, "bf16", -20], [64, "f16", -24]] as const) {
  Deno.test({
    name:
      `cuda, ${emulated}, sm_90: each number and scale of NVFP4 is the decoded weight in ${dtype}, tiles of ${rows}`,
    ignore: !toolkit,
    fn: async () => {
      const random = new SmallRandom(rows);
      const magnitude = () => (1 + random.next()) * 2 ** random.integer(smallest, -10);
      const globals = Float32Array.from({ length: 2 * E }, (_, i) => i % 2 ? (i % 4 - 2) * magnitude() : 1);
      // Gates are 1, and up rows have all numbers with each scale but NaN. The input and down are identity matrices.
      const gateUpProj = weights(2 * size, (row, column) => {
        const scale = (row - size) * 4 + (column >> 4);
        return row < size ? one : { number: column + row & 15, scale: (scale & 0x7f) === 0x7f ? 0 : scale };
      }, globals);
      const identity: Element = (row, column) => ({ ...one, number: row === column ? one.number : 0 });
      const downProj = weights(size, identity, new Float32Array(E).fill(1));
      const T = E * size, hidden = new Float32Array(T * size);
      for (let t = 0; t < T; t++) hidden[t * size + t % size] = 1;

      using backend = (await openEmulated(90, rows)).backend;
      const out = await experts({
        ...{ hiddenStates: convert(tensor(hidden, [T, size]), dtype), gateUpProj, downProj },
        routerIndices: tensor(Int32Array.from({ length: T }, (_, t) => Math.floor(t / size)), [T, 1]),
        routingWeights: convert(tensor(new Float32Array(T).fill(1), [T, 1]), dtype),
      }, { backend, weightLayout: "out-in", gateUpLayout: "concatenated", activation: "relu" });

      const actual = convert(out, "f32").data, expected = convert(decode(gateUpProj, dtype), "f32").data;
      for (let t = 0; t < T; t++) {
        for (let i = 0; i < size; i++) {
          const weight = expected[(Math.floor(t / size) * 2 * size + size + i) * size + t % size];
          const value = actual[t * size + i];
          if (value !== weight) assertEquals(value, weight, `token ${t}, output ${i}`); // only the signs of zeros may differ
        }
      }
    },
  });
}
