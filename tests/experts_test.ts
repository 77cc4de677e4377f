import { assertEquals, assertRejects } from "@std/assert";
import { experts, type ExpertsInputs, type ExpertsOptions, type Tensor, tensor } from "../mod.ts";
import { expertsFlops } from "../src/contract/experts_sizes.ts";
import { checkExperts } from "../src/contract/resolve_experts.ts";
import { randomInputs } from "./random_inputs.ts";

const shape = { T: 4, H: 8, I: 6, E: 3, K: 2 };
const good = () => randomInputs(shape, 1);
const half = (...sizes: number[]) => tensor(new Float16Array(sizes.reduce((a, b) => a * b)), sizes);

function detached(): Tensor {
  const value = half(3, 6, 8);
  structuredClone(value.data.buffer, { transfer: [value.data.buffer as ArrayBuffer] });
  return value;
}

type Changes = { [Name in keyof ExpertsInputs]?: unknown };

const misuse: [string, Changes, ExpertsOptions, new (message: string) => Error, string][] = [
  [
    "a misspelt option",
    {},
    { expertCapacty: 3 } as ExpertsOptions,
    TypeError,
    'Unknown member "expertCapacty" of options: did you mean "expertCapacity"?',
  ],
  [
    "a misspelt input",
    { downProjBais: half(3, 8) } as Changes,
    {},
    TypeError,
    'Unknown member "downProjBais" of inputs: did you mean "downProjBias"?',
  ],
  [
    "weights of a missing addend",
    { addendWeights: tensor(new Float32Array(4), [4, 1]) },
    {},
    TypeError,
    "addendWeights need an addend, got none",
  ],
  [
    "f16 weights of the input",
    { inputWeights: half(4, 2) },
    {},
    TypeError,
    "inputWeights must be of dtype f32, got f16",
  ],
  [
    "weights of the input with dense ones of the output",
    { inputWeights: tensor(new Float32Array(8), [4, 2]), routingWeights: half(4, 3) },
    {},
    RangeError,
    "inputWeights need routingWeights in the order of routerIndices, got dense ones, [4, 3]",
  ],
  ["a missing tensor", { downProj: undefined }, {}, TypeError, "downProj must be a tensor, got undefined"],
  ["a bare array", { hiddenStates: new Float16Array(32) }, {}, TypeError, "The dtype of hiddenStates must be one of"],
  [
    "another float dtype",
    { hiddenStates: tensor(new Float32Array(32), [4, 8]) },
    {},
    TypeError,
    "routingWeights must be of dtype f32, that of hiddenStates, got f16",
  ],
  [
    "an integer dtype",
    { hiddenStates: tensor(new Int32Array(32), [4, 8]) },
    {},
    TypeError,
    "hiddenStates must be of dtype f16, bf16, f32, got i32",
  ],
  ["float indices", { routerIndices: half(4, 2) }, {}, TypeError, "routerIndices must be of dtype i32, got f16"],
  [
    "data of another type than the dtype",
    { downProj: { ...half(3, 6, 8), data: new Float32Array(144) } },
    {},
    TypeError,
    "downProj of dtype f16 must hold a Float16Array, got Float32Array",
  ],
  [
    "a detached buffer",
    { downProj: detached() },
    {},
    TypeError,
    "downProj must have memory: its buffer is detached",
  ],
  [
    "fewer elements than the shape says",
    { downProj: { ...half(3, 6, 8), data: new Float16Array(143) } },
    {},
    RangeError,
    "downProj of shape [3, 6, 8] must hold 144 elements, got 143",
  ],
  [
    "a fractional size",
    { downProj: { ...half(3, 6, 8), shape: [3, 6.5, 8] } },
    {},
    RangeError,
    "downProj.shape must hold non-negative integers, got 6.5",
  ],
  [
    "a wrong rank",
    { hiddenStates: half(2, 2, 8) },
    {},
    RangeError,
    "hiddenStates must have shape [T, H], got [2, 2, 8]",
  ],
  [
    "a hidden size of zero",
    { hiddenStates: { dtype: "f16", shape: [4, 0], data: new Float16Array(0) } },
    {},
    RangeError,
    "hiddenStates must have at least one element along H",
  ],
  [
    "another hidden size",
    { hiddenStates: half(4, 10) },
    {},
    RangeError,
    "hiddenStates must have shape [4, 8] to match the rest, got [4, 10]",
  ],
  [
    "another number of tokens",
    { routerIndices: tensor(new Int32Array(10), [5, 2]) },
    {},
    RangeError,
    "routerIndices must have shape [4, 2] to match the rest, got [5, 2]",
  ],
  [
    "a down projection of another hidden size",
    { downProj: half(3, 6, 10) },
    {},
    RangeError,
    "downProj must have shape [3, 6, 8] to match the rest, got [3, 6, 10]",
  ],
  [
    "another intermediate size",
    { gateUpProj: half(3, 8, 10) },
    {},
    RangeError,
    "gateUpProj must have shape [3, 8, 12] to match downProj of shape [3, 6, 8], got [3, 8, 10]",
  ],
  [
    "a bias of another size",
    { gateUpProjBias: half(3, 6) },
    {},
    RangeError,
    "gateUpProjBias must have shape [3, 12] to match the rest, got [3, 6]",
  ],
  [
    "weights of another size",
    { routingWeights: half(4, 1) },
    {},
    RangeError,
    "routingWeights must have shape [4, 2] to match the rest, got [4, 1]",
  ],
  [
    "an index past the experts",
    { routerIndices: tensor(new Int32Array([0, 1, 2, 0, 1, 3, 0, 0]), [4, 2]) },
    {},
    RangeError,
    "routerIndices must hold integers from 0 to 2, got 3 at [2, 1]",
  ],
  [
    "a negative index",
    { routerIndices: tensor(new Int32Array([-1, 1, 2, 0, 1, 2, 0, 0]), [4, 2]) },
    {},
    RangeError,
    "got -1 at [0, 0]",
  ],
  [
    "a capacity of zero",
    {},
    { expertCapacity: 0 },
    RangeError,
    "expertCapacity must be an integer of at least 1, or undefined, got 0",
  ],
  ["a fractional capacity", {}, { expertCapacity: 2.5 }, RangeError, "expertCapacity must be"],
  [
    "an unknown layout",
    {},
    { routingWeightsLayout: "sparse" as "dense" },
    RangeError,
    'routingWeightsLayout must be "top-k" or "dense", got "sparse"',
  ],
  [
    "an unknown activation",
    {},
    { activation: "swish" as "silu" },
    RangeError,
    'activation must be "swiglu-oai", "silu", "gelu", "gelu-tanh", "relu" or "relu2", got "swish"',
  ],
  ["swiglu-oai without a gate", {}, { gated: false }, RangeError, 'The activation "swiglu-oai" needs a gate'],
  ["an alpha that is NaN", {}, { activationAlpha: NaN }, RangeError, "activationAlpha must be a finite number"],
  [
    "an alpha that is infinite in f32",
    {},
    { activationAlpha: 1e300 },
    RangeError,
    "activationAlpha must be a finite number of f32, got 1e+300",
  ],
  ["a limit of zero", {}, { activationLimit: 0 }, RangeError, "activationLimit must be a number of f32 above 0, got 0"],
  [
    "a limit that is zero in f32",
    {},
    { activationLimit: 1e-60 },
    RangeError,
    "activationLimit must be a number of f32 above 0, got 1e-60",
  ],
  [
    "a limit for another activation",
    {},
    { activation: "gelu", activationLimit: 7 },
    RangeError,
    'activationLimit must only be given for the activation "swiglu-oai" or "silu" with a gate, got activation: "gelu"',
  ],
  [
    "a gate that is not a boolean",
    {},
    { gated: 1 as unknown as true },
    TypeError,
    "gated must be true or false, got 1",
  ],
  [
    "gate and up weights without a gate",
    {},
    { activation: "relu2", gated: false },
    RangeError,
    "gateUpProj must have shape [3, 8, 6] to match downProj of shape [3, 6, 8], got [3, 8, 12]",
  ],
  [
    "an unknown gate-up layout",
    {},
    { gateUpLayout: "split" as "concatenated" },
    RangeError,
    'gateUpLayout must be "interleaved" or "concatenated", got "split"',
  ],
  [
    "weights in the other layout",
    {},
    { weightLayout: "out-in" },
    RangeError,
    "downProj must have shape [3, 8, 8] to match the rest, got [3, 6, 8]",
  ],
];

for (const [title, changes, options, type, message] of misuse) {
  Deno.test(`experts() rejects ${title}`, async () => {
    const inputs = { ...good(), ...changes } as ExpertsInputs;
    await assertRejects(() => experts(inputs, options), type, message);
  });
}

/** A tensor over memory that has been given another size since. */
function resized(bytes: number): Tensor {
  const data = new Float16Array(new ArrayBuffer(64, { maxByteLength: 128 }));
  const value = tensor(data, [4, 8]);
  data.buffer.resize(bytes);
  return value;
}

for (const bytes of [10, 128]) {
  Deno.test(`experts() rejects a buffer that was resized to ${bytes} bytes`, async () => {
    await assertRejects(
      () => experts({ ...good(), hiddenStates: resized(bytes) }),
      RangeError,
      `hiddenStates of shape [4, 8] must hold 32 elements, got ${bytes / 2}`,
    );
  });
}

Deno.test("experts() accepts resizable and growable memory of the right size", async () => {
  const inputs = good();
  const expected = (await experts(inputs)).data;
  for (const Memory of [ArrayBuffer, SharedArrayBuffer]) {
    const data = new Float16Array(new Memory(64, { maxByteLength: 128 }));
    data.set(inputs.hiddenStates.data);
    assertEquals((await experts({ ...inputs, hiddenStates: tensor(data, [4, 8]) })).data, expected);
  }
});

Deno.test("experts() rejects options that are not an object, and values that are not a backend", async () => {
  await assertRejects(() => experts(good(), null as unknown as ExpertsOptions), TypeError, "options must be an object");
  for (const backend of ["cpu", null]) {
    const options = { backend } as unknown as Parameters<typeof experts>[1];
    await assertRejects(() => experts(good(), options), TypeError, "backend must be an open backend");
  }
});

Deno.test("experts() rejects inputs that are not an object", async () => {
  await assertRejects(
    () => experts(null as unknown as ExpertsInputs),
    TypeError,
    "inputs must be an object, got null",
  );
});

Deno.test("checkExperts() distinguishes top-k weights from dense ones", () => {
  assertEquals(checkExperts(good()).denseWeights, false);
  assertEquals(checkExperts(randomInputs(shape, 1, { dense: true })).denseWeights, true);
  const square = randomInputs({ ...shape, E: 2 }, 1);
  assertEquals(checkExperts(square).denseWeights, false);
  assertEquals(checkExperts(square, { routingWeightsLayout: "dense" }).denseWeights, true);
});

Deno.test("expertsFlops() counts six operations for each weight of an expert and kept assignment", () => {
  assertEquals(expertsFlops(checkExperts(good()), 5), 5 * (2 * 8 * 12 + 2 * 6 * 8));
});
