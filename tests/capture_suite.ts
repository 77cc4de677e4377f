// Tests of captured calls that every backend must pass. The tests of each backend call `testCapture`.
import { assert, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import {
  type Backend,
  type BackendTensor,
  type Captured,
  convert,
  Generator,
  type MoeLayer,
  packed,
  tensor,
  zeros,
} from "../mod.ts";
import { mapInputs } from "../src/contract/experts_inputs.ts";
import { mapLayer } from "../src/contract/resolve_moe.ts";
import { backendTest } from "./backend_case.ts";
import { scaledInputs } from "./random_inputs.ts";

const sizes = { T: 20, H: 32, I: 24, E: 4, K: 2 };

/** Makes a layer with a router, a gated shared expert and an addend. */
function layerOf(random: Generator): MoeLayer {
  const f16 = (...shape: number[]) => {
    const { data } = random.randn(shape);
    return convert({ dtype: "f32", shape, data: data.map((x) => x / 4) as Float32Array }, "f16");
  };
  const weights = (E: number) => ({ gateUpProj: f16(E, sizes.H, 2 * sizes.I), downProj: f16(E, sizes.I, sizes.H) });
  return {
    ...weights(sizes.E),
    router: { weight: f16(sizes.E, sizes.H), options: { kind: "softmax-renormalize", topK: sizes.K } },
    sharedExpert: { ...weights(1), gate: f16(1, sizes.H) },
  };
}

/** Tensors on a backend for a sequence of two layers, with other hidden states to write. */
async function makeSequence(backend: Backend, scope: DisposableStack) {
  const random = new Generator(3);
  const states = [0, 1].map(() => convert(random.randn([sizes.T, sizes.H]), "f16"));
  const hidden = scope.use(backend.allocate("f16", [sizes.T, sizes.H])); // a CPU would share the memory of an upload
  const layers = [0, 1].map(() => mapLayer(layerOf(random), (tensor) => scope.use(backend.upload(tensor))));
  const run = async () => {
    using between = await backend.moe(hidden, layers[0]!);
    return await backend.moe(between, layers[1]!);
  };
  const write = (i: number) =>
    backend.fill(hidden, (piece, start) => {
      piece.set(states[i]!.data.subarray(start, start + piece.length));
    });
  await write(0);
  return { hidden, layers, run, write };
}

/** Defines the tests of a backend; see `testBackend`. */
export function testCapture(name: string, open: () => Promise<Backend>, ignore = false): void {
  const test = backendTest(name, open, ignore);

  test("a replay of a sequence of layers gives the bits of the calls, and follows its input", async (backend) => {
    using scope = new DisposableStack();
    const { run, write } = await makeSequence(backend, scope);
    const direct = async () => {
      using output = await run();
      return (await backend.download(output)).data;
    };
    const expected = [await direct()];
    await write(1);
    expected.push(await direct());
    assertNotEquals(expected[0], expected[1]);

    using captured = await backend.capture(run);
    const { result } = captured;
    assertEquals((await backend.download(result)).data, expected[1], "after the capture");
    for (const i of [0, 0, 1, 0]) {
      await write(i);
      await captured.replay();
      assert(captured.result === result);
      assertEquals((await backend.download(result)).data, expected[i]);
    }
  });

  test("captured experts with every input, and ops, are replayed", async (backend) => {
    using scope = new DisposableStack();
    const inputs = mapInputs(scaledInputs(sizes, 5), (tensor) => scope.use(backend.upload(tensor)));
    using values = await backend.ops.full("i32", [9], 2);
    const run = async () => {
      using first = await backend.experts(inputs);
      const sorted = await backend.ops.sort(values, sizes.E);
      return { added: await backend.experts({ ...inputs, addend: first }), sorted, nothing: undefined };
    };
    const expected = await run();
    using captured = await backend.capture(run);
    await captured.replay();
    for (
      const [tensor, right] of [
        [captured.result.added, expected.added],
        [captured.result.sorted.values, expected.sorted.values],
        [captured.result.sorted.indices, expected.sorted.indices],
      ] as const
    ) {
      assertEquals(await backend.download(tensor), await backend.download(right));
      right[Symbol.dispose]();
    }
  });

  test("captured calls keep the memory of their tensors, whatever is disposed before", async (backend) => {
    using inputs = new DisposableStack();
    const { run } = await makeSequence(backend, inputs);
    const direct = await run();
    const expected = (await backend.download(direct)).data;
    direct[Symbol.dispose]();
    using captured = await backend.capture(run);
    inputs.dispose();
    const full = () => backend.ops.full("f16", [sizes.T, sizes.H], 7); // takes the memory if it is free
    const others = await Promise.all(Array.from({ length: 20 }, full));
    await captured.replay();
    assertEquals((await backend.download(captured.result)).data, expected);
    for (const tensor of others) tensor[Symbol.dispose]();
  });

  test("captured calls can be disposed in any order, and not used afterwards", async (backend) => {
    using scope = new DisposableStack();
    const { run } = await makeSequence(backend, scope);
    const before = backend.memory.liveBytes;
    const [first, second] = [await backend.capture(run), await backend.capture(run)];
    const expected = (await backend.download(second.result)).data;
    first.result[Symbol.dispose]();
    await first.replay(); // the graph still has the memory of its result
    first[Symbol.dispose]();
    first[Symbol.dispose]();
    await assertRejects(() => first.replay(), TypeError, "Cannot replay a capture that is disposed");
    await second.replay();
    assertEquals((await backend.download(second.result)).data, expected);
    second[Symbol.dispose]();
    await assertRejects(async () => await backend.download(second.result), TypeError, "disposed");
    assertEquals(backend.memory.liveBytes, before);
  });

  test("the workspace of a layer serves the next layers of a sequence", async (backend) => {
    using scope = new DisposableStack();
    const { hidden, layers } = await makeSequence(backend, scope);
    const [layer] = layers;
    const bytes = async (count: number) => {
      const before = backend.memory.liveBytes;
      using _captured = await backend.capture(async () => {
        let output = await backend.moe(hidden, layer!);
        for (let i = 1; i < count; i++) {
          using input = output;
          output = await backend.moe(input, layer!);
        }
        return output;
      });
      return backend.memory.liveBytes - before;
    };
    assertEquals(await bytes(6), await bytes(3));
  });

  const refused: Record<
    string,
    [run: (backend: Backend, outside: BackendTensor) => Promise<unknown>, message: string]
  > = {
    "upload()": [
      async (backend) => await backend.upload(zeros("f16", [2])),
      "Cannot upload inside a captured function",
    ],
    "download()": [(backend, outside) => backend.download(outside), "Cannot download inside a captured function"],
    "fill()": [(backend, outside) => backend.fill(outside, () => {}), "Cannot fill inside a captured function"],
    "read()": [(backend, outside) => backend.read(outside, () => {}), "Cannot read inside a captured function"],
    "synchronize()": [(backend) => backend.synchronize(), "Cannot synchronize inside a captured function"],
    "measure()": [(backend) => backend.measure(async () => {}), "Cannot measure inside a captured function"],
    "capture()": [(backend) => backend.capture(async () => {}), "Cannot capture inside a captured function"],
    "disposing a tensor of the caller": [
      async (_, outside) => await outside[Symbol.dispose](),
      "Cannot dispose a tensor inside a captured function that did not make it",
    ],
    "leaving a tensor": [
      async (backend) => void await backend.ops.full("f32", [2, 3], 1),
      "Cannot capture a function that neither returns nor disposes the tensors that it makes: it left [2, 3] of f32",
    ],
    "returning a disposed tensor": [
      async (backend) => {
        using made = await backend.ops.full("f32", [2, 3], 1);
        return made;
      },
      "Cannot capture a function that returns a disposed tensor",
    ],
    "a function that fails": [
      async (backend) => {
        await backend.ops.full("f32", [2, 3], 1);
        throw new TypeError("of the function");
      },
      "of the function",
    ],
  };
  for (const [what, [run, message]] of Object.entries(refused)) {
    test(`${what} cannot be captured, and the backend remains usable`, async (backend) => {
      using outside = await backend.ops.full("f32", [2, 3], 4);
      const before = backend.memory.liveBytes;
      await assertRejects(() => backend.capture(() => run(backend, outside)), TypeError, message);
      assertEquals(backend.memory.liveBytes, before);
      using captured = await backend.capture(() => backend.ops.full("f32", [2, 3], 5));
      await captured.replay();
      assertEquals((await backend.download(captured.result)).data[0], 5);
      assertEquals((await backend.download(outside)).data[0], 4);
    });
  }

  test("a call that the captured function does not await is refused", async (backend) => {
    using scope = new DisposableStack();
    const { hidden, layers } = await makeSequence(backend, scope);
    let late: Promise<BackendTensor> | undefined;
    const run = async () => {
      late = Promise.resolve().then(() => new Promise((resolve) => setTimeout(resolve))).then(() =>
        backend.moe(hidden, layers[0]!)
      );
      late.catch(() => {});
      return await backend.ops.full("f32", [1], 1);
    };
    using _captured = await backend.capture(run);
    await assertRejects(async () => await late, TypeError, "it must await all its calls");
  });

  test("calls outside of a captured function that run meanwhile are not captured", async (backend) => {
    using scope = new DisposableStack();
    const { hidden, layers, run } = await makeSequence(backend, scope);
    const outside = backend.moe(hidden, layers[1]!);
    const captured = await backend.capture(run);
    using output = await outside;
    const expected = (await backend.download(output)).data;
    await backend.fill(hidden, (piece) => void piece.fill(0));
    await captured.replay();
    assertEquals((await backend.download(output)).data, expected);
    captured[Symbol.dispose]();
  });

  test("a captured function that replays a capture is refused, also if it is its own", async (backend) => {
    using other = await backend.capture(() => backend.ops.full("f32", [2], 1));
    let captured: Captured<BackendTensor> | undefined;
    const run = async () => {
      await captured?.replay();
      return await backend.ops.full("f32", [2], 2);
    };
    using own = captured = await backend.capture(run);
    const message = "Cannot replay inside a captured function";
    captured = other;
    await assertRejects(() => backend.capture(run), TypeError, message);
    captured = own;
    if (backend.name === "cpu") await assertRejects(() => own.replay(), TypeError, message); // it calls the function again
    assertEquals((await backend.download(own.result)).data[0], 2);
  });

  test("a captured function may return an object that refers to itself", async (backend) => {
    const before = backend.memory.liveBytes;
    const captured = await backend.capture(async () => {
      const made: { tensor: BackendTensor; self?: unknown } = { tensor: await backend.ops.full("f32", [2], 3) };
      return Object.assign(made, { self: made });
    });
    await captured.replay();
    assertEquals((await backend.download(captured.result.tensor)).data, new Float32Array([3, 3]));
    captured[Symbol.dispose]();
    assertEquals(backend.memory.liveBytes, before);
  });

  test("capture(), measure(), fill() and read() refuse what is not a function", async (backend) => {
    using x = await backend.ops.full("f32", [2], 1);
    const wrong = 3 as unknown as () => Promise<void>;
    const calls = {
      run: [() => backend.capture(wrong), () => backend.measure(wrong)],
      produce: [() => backend.fill(x, wrong)],
      consume: [() => backend.read(x, wrong)],
    };
    for (const [name, made] of Object.entries(calls)) {
      for (const call of made) await assertRejects(call, TypeError, `${name} must be a function, got 3`);
    }
  });

  test("download() of a packed tensor is refused", async (backend) => {
    const parts = { values: tensor(new Uint8Array(4), [1, 2, 2]), scales: tensor(new Float32Array([1, 1]), [1, 2, 1]) };
    using weight = backend.upload(packed("fp8", parts, [1, 2, 2]));
    await assertRejects(
      () => backend.download(weight as unknown as BackendTensor),
      TypeError,
      "Cannot use a packed tensor: expected a dense tensor of the backend",
    );
  });

  test("full() refuses a value that is not an integer of the dtype", async (backend) => {
    for (const [dtype, value] of [["i32", 1.5], ["i32", NaN], ["i32", 2 ** 31], ["u8", 256], ["u8", -1]] as const) {
      await assertRejects(
        () => backend.ops.full(dtype, [2], value),
        RangeError,
        dtype === "u8"
          ? `value must be an integer from 0 to 255 for u8, got ${value}`
          : `value must be an integer from -2147483648 to 2147483647 for i32, got ${value}`,
      );
    }
    for (const [dtype, value] of [["i32", -(2 ** 31)], ["u8", 255]] as const) {
      using made = await backend.ops.full(dtype, [2], value);
      assertEquals([...(await backend.download(made)).data], [value, value]);
    }
  });
}
