// The model that all else is measured by, against numbers from elsewhere.
import { assertAlmostEquals, assertEquals } from "@std/assert";
import { tensor } from "../mod.ts";
import { erf, naiveExperts, numbers, plain } from "./naive.ts";

Deno.test("naive: erf is that of Abramowitz and Stegun, table 7.1", () => {
  const table = [[0, 0], [0.5, 0.5204998778], [1, 0.8427007929], [1.5, 0.9661051465], [2, 0.995322265]] as const;
  for (const [x, value] of table) {
    assertAlmostEquals(erf(x), value, 5e-11);
    assertAlmostEquals(erf(-x), -value, 5e-11);
  }
  assertEquals(erf(40), 1);
});

Deno.test("naive: activations of 1 and -2 are PyTorch's", () => {
  const expected = {
    "silu": [0.7310585786, -0.2384058440],
    "gelu": [0.8413447461, -0.0455002639],
    "gelu-tanh": [0.8411919906, -0.0454023059],
    "relu": [1, 0],
    "relu2": [1, 0],
  };
  for (const [name, [one, minusTwo]] of Object.entries(expected)) {
    assertAlmostEquals(plain[name as keyof typeof plain](1), one!, 1e-10);
    assertAlmostEquals(plain[name as keyof typeof plain](-2), minusTwo!, 1e-10);
  }
});

Deno.test("naive: bf16 bit patterns are the upper halves of f32", () => {
  assertEquals(numbers(tensor(Uint16Array.of(0x3f80, 0xc040, 0x7f80), [3], "bf16")), Float64Array.of(1, -3, Infinity));
});

Deno.test("naive: layouts name the same numbers", () => {
  // One token, H = 2, I = 2; gate columns 1 and 2, up columns 3 and 4, by their weight for the first input.
  const of = (...values: number[]) => Float32Array.from(values);
  const rest = {
    hiddenStates: tensor(of(1, 10), [1, 2]),
    routerIndices: tensor(Int32Array.of(0), [1, 1]),
    routingWeights: tensor(of(2), [1, 1]),
  };
  const inOut = {
    ...rest,
    gateUpProj: tensor(of(1, 3, 2, 4, 0, 0, 1, 1), [1, 2, 4]),
    downProj: tensor(of(1, 0, 1, 1), [1, 2, 2]),
  };
  const outIn = {
    ...rest,
    gateUpProj: tensor(of(1, 0, 2, 1, 3, 0, 4, 1), [1, 4, 2]),
    downProj: tensor(of(1, 1, 0, 1), [1, 2, 2]),
  };
  // gate 1 and 12, up 3 and 14: a = 1² · 3, 12² · 14; y = [a₁ + a₂, a₂].
  const expected = Float64Array.of(2 * (3 + 2016), 2 * 2016);
  assertEquals(naiveExperts(inOut, { activation: "relu2" }).exact, expected);
  const options = { activation: "relu2", weightLayout: "out-in", gateUpLayout: "concatenated" } as const;
  assertEquals(naiveExperts(outIn, options).exact, expected);
});
