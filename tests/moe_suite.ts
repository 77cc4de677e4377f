// Tests of whole layers that every backend must pass. The tests of each backend call `testMoe`.
import { assert, assertEquals, assertLessOrEqual, assertRejects } from "@std/assert";
import {
  type Backend,
  convert,
  type DType,
  Generator,
  moe,
  type MoeLayer,
  type MoeRouter,
  openLayer,
  route,
  Safetensors,
  type Tensor,
  tensor,
  zeros,
} from "../mod.ts";
import { routerRules } from "../src/routing/router.ts";
import { backendTest } from "./backend_case.ts";
import { relativeError } from "./fixtures.ts";
import { numbers } from "./naive.ts";
import { naiveMoe } from "./naive_moe.ts";
import { exactTensor, floats, routerKinds as kinds, testOps } from "./ops_suite.ts";
import { relativeBounds } from "./random_inputs.ts";

/** Defines the tests; see `testBackend`. */
export function testMoe(
  name: string,
  open: () => Promise<Backend>,
  { ignore = false, multiple = 1, runs = 40, dtypes = floats }: {
    ignore?: boolean;
    multiple?: number;
    runs?: number;
    dtypes?: readonly DType[];
  } = {},
): void {
  const test = backendTest(name, open, ignore);

  testOps(test, { multiple, runs, dtypes });

  for (const kind of kinds) {
    test(`moe() agrees with the naive model: ${kind}`, async (backend) => {
      for (const [i, dtype] of dtypes.entries()) {
        for (const shared of ["none", "plain", "gated"] as const) {
          const random = new Generator(10 * i + shared.length);
          const [T, H, I, E, K] = [33, 32, 24, 12, kind === "sigmoid-input" && shared === "plain" ? 1 : 3];
          const { groupScores, before } = routerRules[kind];
          const normal = (shape: number[], scale: number) =>
            convert(tensor(random.randn(shape).data.map((x) => x * scale) as Float32Array, shape), dtype);
          const weights = (E: number, I: number) => ({
            gateUpProj: normal([E, H, 2 * I], 1.5 / Math.sqrt(H)),
            gateUpProjBias: normal([E, 2 * I], 0.5),
            downProj: normal([E, I, H], 1 / Math.sqrt(I)),
          });
          const gate = shared === "gated" ? exactTensor(random, dtype, [1, H]) : undefined;
          const layer: MoeLayer<Tensor, Tensor> = {
            ...weights(E, I),
            router: {
              weight: exactTensor(random, i === 2 ? "f32" : dtype, [E, H]),
              bias: exactTensor(random, i === 2 ? "f32" : dtype, [E]),
              logitsDType: shared === "none" ? "f32" : undefined,
              options: {
                kind,
                topK: K,
                ...(groupScores > 0 ? { groups: 4, topGroups: 2 } : {}),
                ...(before === "none" ? {} : { correctionBias: random.randn([E]), scale: 2.5 }),
              },
            },
            ...(shared === "none" ? {} : { sharedExpert: { ...weights(1, 16), gate } }),
          };
          const hidden = exactTensor(random, dtype, [T, H]);
          const options = { expertCapacity: shared === "gated" ? 5 : undefined };
          const output = await moe(hidden, layer, { ...options, backend });
          assertEquals([output.dtype, ...output.shape], [dtype, T, H]);
          const { exact, tolerance } = naiveMoe(hidden, layer, options);
          for (const [at, value] of numbers(output).entries()) {
            const near = Math.abs(value - exact[at]!) <= tolerance[at]!;
            assert(near, `${dtype}, ${shared}, element ${at}: ${value}, expected ${exact[at]} within ${tolerance[at]}`);
          }
        }
      }
    });
  }

  for (const kind of kinds) {
    test(`moe() is as near to float64 as its experts: ${kind}`, async (backend) => {
      for (const dtype of dtypes) {
        for (const shared of ["none", "plain", "gated"] as const) {
          const random = new Generator(7);
          const [T, H, I, E, K] = [128, 64, 48, 8, kind === "sigmoid-input" && shared !== "gated" ? 1 : 3];
          const normal = (shape: number[], scale: number) =>
            convert(tensor(random.randn(shape).data.map((x) => x * scale) as Float32Array, shape), dtype);
          const weights = (E: number, I: number) => ({
            gateUpProj: normal([E, H, 2 * I], 1 / Math.sqrt(H)),
            downProj: normal([E, I, H], 1 / Math.sqrt(I)),
          });
          const layer: MoeLayer<Tensor, Tensor> = {
            ...weights(E, I),
            activation: "silu",
            router: { weight: normal([E, H], 2 / Math.sqrt(H)), options: { kind, topK: K } },
            ...(shared === "none" ? {} : {
              sharedExpert: {
                ...weights(1, 32),
                activation: "silu",
                gate: shared === "gated" ? normal([1, H], 0.1) : undefined,
              },
            }),
          };
          const hidden = normal([T, H], 1);
          const output = await moe(hidden, layer, { backend });
          const error = relativeError(numbers(output), naiveMoe(hidden, layer).exact);
          assertLessOrEqual(error, relativeBounds[dtype]!, `${dtype}, shared expert: ${shared}`);
        }
      }
    });
  }

  test("moe() runs routed experts in a latent space", async (backend) => {
    for (const dtype of dtypes) {
      const random = new Generator(3);
      const [T, H, L, I, E] = [9, 32, 16, 24, 4];
      const normal = (shape: number[], scale: number) =>
        convert(tensor(random.randn(shape).data.map((x) => x * scale) as Float32Array, shape), dtype);
      const unit = (rows: number, columns: number) => {
        const values = Float32Array.from(
          { length: rows * columns },
          (_, i) => Math.floor(i / columns) === i % columns ? 1 : 0,
        );
        return convert(tensor(values, [rows, columns]), dtype);
      };
      const weights = (E: number, width: number) => ({
        gateUpProj: normal([E, width, 2 * I], 0.2),
        downProj: normal([E, I, width], 0.2),
      });
      const hidden = normal([T, H], 1);
      const router = { weight: normal([E, H], 0.4), options: { topK: 2 } };
      const layer = { ...weights(E, H), router };
      const square = { input: unit(H, H), output: unit(H, H) };
      const plain = await moe(hidden, layer, { backend });
      assertEquals(numbers(await moe(hidden, { ...layer, latent: square }, { backend })), numbers(plain));

      // The first L columns, and a shared expert that is added to the projected sum.
      const narrow = { ...weights(E, L), router, latent: { input: unit(L, H), output: unit(H, L) } };
      const sharedExpert = { ...weights(1, H), gate: normal([1, H], 0.2) };
      const routed = numbers(await moe(hidden, narrow, { backend }));
      assertEquals(routed.every((value, i) => i % H < L || value === 0), true);
      const zeros = { ...narrow, downProj: normal([E, I, L], 0), sharedExpert };
      const shared = numbers(await moe(hidden, zeros, { backend }));
      const both = numbers(await moe(hidden, { ...narrow, sharedExpert }, { backend }));
      assertLessOrEqual(relativeError(both, routed.map((value, i) => value + shared[i]!)), relativeBounds[dtype]!);

      const wrong = { ...narrow, latent: { input: unit(L, H), output: unit(L, H) } };
      const message = "layer.latent.output must have shape [32, 16] to match the rest, got [16, 32]";
      await assertRejects(() => moe(hidden, wrong, { backend }), RangeError, message);
    }
  });

  test("moe() with a token table that has the router's own choice gives the same output", async (backend) => {
    for (const dtype of dtypes) {
      const random = new Generator(8);
      const [T, H, I, E, topK] = [9, 32, 16, 8, 3];
      const normal = (...shape: number[]) => convert(random.randn(shape), dtype);
      const weights = (E: number) => ({ gateUpProj: normal(E, H, 2 * I), downProj: normal(E, I, H) });
      const weight = exactTensor(random, dtype, [E, H]), hidden = exactTensor(random, dtype, [T, H]);
      const options = { kind: "sqrt-softplus", topK, scale: 1.5 } as const;
      const layer = { ...weights(E), router: { weight, options }, sharedExpert: weights(1) };
      using x = backend.upload(hidden);
      using w = backend.upload(weight);
      using logits = await backend.ops.linear(x, w, { dtype: "f32" });
      const { routerIndices } = route(await backend.download(logits), options);
      const tokenIds = Int32Array.from({ length: T }, (_, t) => (t + 4) % T);
      const data = new Int32Array(T * topK);
      tokenIds.forEach((id, t) => data.set(routerIndices.data.subarray(t * topK, (t + 1) * topK), id * topK));
      const byToken = { ...layer, router: { ...layer.router, tokenTable: tensor(data, [T, topK]) } };
      const expected = await moe(hidden, layer, { backend });
      const output = await moe(hidden, byToken, { backend, tokenIds });
      assertLessOrEqual(relativeError(numbers(output), numbers(expected)), relativeBounds[dtype]!, dtype);
    }
  });

  test("moe() normalizes the inputs of router and experts, and scales the weights of experts", async (backend) => {
    for (const dtype of dtypes) {
      const random = new Generator(3);
      const [T, H, I, E] = [9, 32, 16, 8];
      const normal = (...shape: number[]) => convert(random.randn(shape), dtype);
      const power = (value: number) => value < 0 ? -2 : 0.5;
      const options = { kind: "softmax-renormalize", topK: 3 } as const;
      const router = { weight: exactTensor(random, dtype, [E, H]), options };
      const layer = { router, gateUpProj: normal(E, H, 2 * I), downProj: normal(E, I, H) };
      // The root mean square of a row of 4 and -4 is 4, so normalized numbers are exact.
      const signs = random.randn([T, H]).data.map((value) => value < 0 ? -4 : 4) as Float32Array;
      const weight = tensor(random.randn([H]).data.map(power) as Float32Array, [H]);
      const normalized = signs.map((value, i) => value / 4 * weight.data[i % H]!) as Float32Array;
      const hidden = convert(tensor(signs, [T, H]), dtype);
      const norm = { weight, epsilon: 0 };
      const expertScale = tensor(new Float32Array(E).fill(2), [E]);
      const both = { ...layer, norm, router: { ...router, norm, expertScale } };
      const capped = { ...layer, router: { ...router, logitCap: 2 ** 20 } }; // far from all logits
      const bound = relativeBounds[dtype]!;
      const expected: readonly [MoeLayer, Tensor, number][] = [
        [both, convert(tensor(normalized, [T, H]), dtype), 2],
        [capped, hidden, 1],
      ];
      for (const [other, input, factor] of expected) {
        const plain = numbers(await moe(input, layer, { backend })).map((value) => factor * value);
        assertLessOrEqual(relativeError(numbers(await moe(hidden, other, { backend })), plain), bound, dtype);
      }
      const onInput = async (scale: number, more: Partial<MoeRouter> = {}) => { // the weights multiply the input
        const options = { kind: "sigmoid-input", topK: 3, scale } as const;
        return numbers(await moe(hidden, { ...layer, router: { ...router, ...more, options } }, { backend }));
      };
      assertLessOrEqual(relativeError(await onInput(1, { expertScale }), await onInput(2)), bound, dtype);

      const zero = { ...layer, router: { ...router, logitCap: 0 } };
      const cap = "layer.router.logitCap must be a finite number above 0, got 0";
      await assertRejects(() => moe(hidden, zero, { backend }), RangeError, cap);

      const short = { ...both, norm: { weight: tensor(new Float32Array(H - 1)), epsilon: 0 } };
      const shape = "layer.norm.weight must have shape [32] to match the rest, got [31]";
      await assertRejects(() => moe(hidden, short, { backend }), RangeError, shape);
      const negative = { ...both, router: { ...both.router, norm: { weight, epsilon: -1 } } };
      const epsilon = "layer.router.norm.epsilon must be a finite number of at least 0, got -1";
      await assertRejects(() => moe(hidden, negative, { backend }), RangeError, epsilon);
    }
  });

  test("openLayer() reads the layer of a checkpoint to the backend", async (backend) => {
    const directory = new URL("../fixtures/layers/deepseek-v3", import.meta.url).pathname;
    using input = await Safetensors.open(`${directory}/input.safetensors`);
    using expected = await Safetensors.open(`${directory}/expected.safetensors`);
    const read = (file: Safetensors) => file.read([...file.tensors.keys()][0] ?? "");
    const { liveBytes } = backend.memory;
    for (const dtype of dtypes) {
      using layer = await openLayer(directory, { backend, dtype });
      using hidden = backend.upload(convert(await read(input), dtype));
      using output = await backend.moe(hidden, layer);
      const error = relativeError(numbers(await backend.download(output)), numbers(await read(expected)));
      assertLessOrEqual(error, 2 * relativeBounds[dtype]!, dtype); // the weights and the input are rounded too
    }
    assertEquals(backend.memory.liveBytes, liveBytes);
  });

  test("moe() of no token is nothing, and refuses what does not fit", async (backend) => {
    const f16 = (...shape: number[]) => convert(new Generator(1).randn(shape), "f16");
    const layer = {
      router: { weight: f16(4, 16), options: { kind: "sigmoid-input", topK: 2 } },
      ...{ gateUpProj: f16(4, 16, 16), downProj: f16(4, 8, 16) },
      sharedExpert: { gateUpProj: f16(1, 16, 16), downProj: f16(1, 8, 16) },
    } as const satisfies MoeLayer;
    assertEquals((await moe(f16(0, 16), layer, { backend })).shape, [0, 16]);
    const wrong = { ...layer, router: { ...layer.router, weight: f16(4, 8) } };
    await assertRejects(
      () => moe(f16(2, 16), wrong, { backend }),
      RangeError,
      "layer.router.weight must have shape [4, 16]",
    );
    const experts = { ...layer, downProj: f16(5, 8, 16) };
    await assertRejects(() => moe(f16(2, 16), experts, { backend }), RangeError, "layer.downProj must hold 4 experts");

    const { router, sharedExpert } = layer;
    const withNull: Readonly<Record<string, object>> = {
      "gateUpProjBias must be a tensor": { gateUpProjBias: null },
      "layer.latent must be an object": { latent: null },
      "layer.norm must be an object": { norm: null },
      "layer.sharedExpert must be an object": { sharedExpert: null },
      "layer.sharedExpert.gate must be a tensor": { sharedExpert: { ...sharedExpert, gate: null } },
      "correctionBias must be a tensor": { router: { ...router, options: { topK: 2, correctionBias: null } } },
      ...Object.fromEntries(
        ["bias", "expertScale", "tokenTable"].map((name) => [
          `layer.router.${name} must be a tensor`,
          { router: { ...router, [name]: null } },
        ]),
      ),
      "layer.router.norm must be an object": { router: { ...router, norm: null } },
    };
    for (const [message, change] of Object.entries(withNull)) {
      const run = () => moe(f16(2, 16), { ...layer, ...change } as MoeLayer, { backend });
      await assertRejects(run, TypeError, `${message}, got null`);
    }
    const misspelt: [string, object, object?][] = [
      ['"gateUpLayuot" of layer: did you mean "gateUpLayout"?', { ...layer, gateUpLayuot: "concatenated" }],
      ['"bais" of layer.router: ', { ...layer, router: { ...router, bais: f16(4) } }],
      ['"top_k" of router: did you mean "topK"?', {
        ...layer,
        router: { ...router, options: { ...router.options, top_k: 2 } },
      }],
      ['"gait" of layer.sharedExpert: expected one of', {
        ...layer,
        sharedExpert: { ...sharedExpert, gait: f16(1, 16) },
      }],
      ['"expertCapacty" of options: did you', layer, { expertCapacty: 3 }],
    ];
    for (const [what, layer, options] of misspelt) {
      const run = () => moe(f16(2, 16), layer as MoeLayer, { backend, ...options });
      await assertRejects(run, TypeError, `Unknown member ${what}`);
    }
  });

  test("moe() refuses a disposed tensor, with and without tokens", async (backend) => {
    using scope = new DisposableStack();
    const upload = (...shape: number[]) => scope.use(backend.upload(zeros("f16", shape)));
    const weight = upload(4, 16);
    const layer = {
      router: { weight, options: { topK: 2 } },
      ...{ gateUpProj: upload(4, 16, 16), downProj: upload(4, 8, 16) },
    };
    weight[Symbol.dispose]();
    const { liveBytes } = backend.memory;
    for (const tokens of [3, 0]) {
      using hidden = backend.upload(zeros("f16", [tokens, 16]));
      await assertRejects(() => backend.moe(hidden, layer), TypeError, "disposed", `${tokens} tokens`);
    }
    assertEquals(backend.memory.liveBytes, liveBytes);
  });
}
