// Tests of routers and of the ops that every backend must pass. `testMoe` calls them.
import { assert, assertEquals, assertRejects } from "@std/assert";
import fc from "./fast_check.ts";
import {
  type Backend,
  convert,
  type DType,
  Generator,
  ops,
  route,
  type RouterOptions,
  type Tensor,
  tensor,
} from "../mod.ts";
import { routerRules } from "../src/routing/router.ts";
import type { BackendTest } from "./backend_case.ts";
import { numbers } from "./naive.ts";
import { naiveRoute } from "./naive_moe.ts";
import { testZeroSizes } from "./zero_sizes_suite.ts";

/** The kinds of routers. */
export const routerKinds = Object.keys(routerRules) as NonNullable<RouterOptions["kind"]>[];
/** The dtypes that the kernels compute in. */
export const floats = ["f16", "bf16", "f32"] as const satisfies DType[];

/** Routers of E experts of every kind, with all that their kind allows. */
function routers(topKs: number): fc.Arbitrary<{ experts: number; options: RouterOptions }> {
  return fc.record({
    kind: fc.constantFrom(...routerKinds),
    groupSize: fc.integer({ min: 2, max: 9 }),
    groups: fc.constantFrom(1, 2, 4, 8),
    topGroups: fc.double({ min: 0, max: 1, noNaN: true }),
    topK: fc.double({ min: 0, max: 1, noNaN: true }),
    bias: fc.option(fc.integer({ min: 1, max: 1e6 }), { nil: undefined }),
    renormalize: fc.option(fc.boolean(), { nil: undefined }),
    epsilon: fc.constantFrom(undefined, 0, 1e-6, 0.5),
    scale: fc.constantFrom(1, 2.5),
  }).map(({ kind, groupSize, groups, topGroups, topK, bias, renormalize, epsilon, scale }) => {
    const { groupScores, before } = routerRules[kind];
    const experts = groupSize * groups;
    const open = groupScores > 0 ? 1 + Math.floor(topGroups * (groups - 1)) : 1;
    const most = Math.min(topKs, groupScores > 0 ? open * groupSize : experts);
    const choosable = before !== "none";
    const options: RouterOptions = {
      kind,
      topK: 1 + Math.floor(topK * (most - 1)),
      scale,
      ...(groupScores > 0 ? { groups, topGroups: open } : {}),
      ...(choosable ? { renormalize, epsilon } : {}),
      ...(choosable && bias ? { correctionBias: new Generator(bias).randn([experts]) } : {}),
    };
    return { experts, options };
  });
}

/** Routes on the backend's device. */
async function routeOn(backend: Backend, logits: Tensor, options: RouterOptions): Promise<Tensor[]> {
  using scope = new DisposableStack();
  const { correctionBias, ...rest } = options;
  const routing = await backend.ops.route(scope.use(backend.upload(logits)), {
    ...rest,
    ...(correctionBias ? { correctionBias: scope.use(backend.upload(correctionBias)) } : {}),
  });
  const tensors = [routing.routerIndices, routing.routerWeights, routing.inputWeights].filter((x) => x !== undefined);
  for (const tensor of tensors) scope.use(tensor);
  return await Promise.all(tensors.map((tensor) => backend.download(tensor)));
}

/** Checks the backend's routing against the naive model and against `route` on the host. */
async function checkRouting(backend: Backend, logits: Tensor, options: RouterOptions): Promise<void> {
  const [T, E] = logits.shape as [number, number];
  const [indices, weights, inputWeights] = await routeOn(backend, logits, options);
  const host = route(logits, options);
  assertEquals(indices!.data, host.routerIndices.data);
  assertEquals(inputWeights === undefined, host.inputWeights === undefined);
  if (inputWeights) assert(weights!.data.every((weight) => weight === 1));
  const actual = (inputWeights ?? weights!).data, expected = (host.inputWeights ?? host.routerWeights).data;
  const x = numbers(logits), K = options.topK;
  for (let t = 0; t < T; t++) {
    const naive = naiveRoute([...x.subarray(t * E, (t + 1) * E)], options);
    assertEquals([...indices!.data.subarray(t * K, (t + 1) * K)], naive.experts, `token ${t}`);
    for (let k = 0; k < K; k++) {
      const value = actual[t * K + k]!, other = expected[t * K + k]!, exact = naive.weights[k]!;
      const same = Object.is(value, other) || Math.abs(value - other) <= 2 ** -23 * Math.abs(other);
      assert(same, `weight ${k} of token ${t}: ${value}, on the host ${other}`);
      const near = Object.is(value, Math.fround(exact)) ||
        Math.abs(value - exact) <= 2 ** -22 * Math.abs(exact) + 2 ** -126;
      assert(near, `weight ${k} of token ${t}: ${value}, expected ${exact}`);
    }
  }
}

/** Numbers whose products, and sums of a hundred of them, every dtype and any order of additions gets right. */
export function exactTensor(random: Generator, dtype: DType, shape: number[]): Tensor {
  return convert(tensor(random.rand(shape).data.map((u) => Math.floor(u * 5) / 4 - 0.5) as Float32Array, shape), dtype);
}

/** Options of {@linkcode testOps}. */
export interface OpsOptions {
  readonly multiple: number;
  readonly runs: number;
  readonly dtypes: readonly DType[];
}

/** Registers the tests. */
export function testOps(test: BackendTest, { multiple, runs, dtypes }: OpsOptions): void {
  testZeroSizes(test, dtypes);

  test("route() decides as the naive model, between equals, NaN and infinities too", async (backend) => {
    const special = fc.constantFrom(NaN, Infinity, -Infinity);
    const number = fc.oneof(
      { weight: 30, arbitrary: fc.integer({ min: -12, max: 12 }).map((n) => n / 2) },
      { weight: 1, arbitrary: special },
    );
    const job = routers(32).chain((router) =>
      fc.record({
        router: fc.constant(router),
        dtype: fc.constantFrom(...floats),
        rows: fc.array(fc.array(number, { minLength: router.experts, maxLength: router.experts }), { maxLength: 9 }),
      })
    );
    const property = fc.asyncProperty(job, async ({ router: { experts, options }, dtype, rows }) => {
      const logits = convert(tensor(Float32Array.from(rows.flat()), [rows.length, experts]), dtype);
      await checkRouting(backend, logits, options);
    });
    await fc.assert(property, { numRuns: 5 * runs, seed: 2 });
  });

  for (const kind of routerKinds) {
    test(`route() decides as the naive model on normal logits: ${kind}`, async (backend) => {
      const random = new Generator(3);
      for (
        const [experts, topK, groups, topGroups] of [[256, 8, 8, 4], [60, 4, 2, 1], [1, 1, 1, 1], [1024, 32, 64, 32]]
      ) {
        const { groupScores, before } = routerRules[kind];
        const correctionBias = before === "none" || experts === 1 ? undefined : random.randn([experts!]);
        const options = {
          ...{ kind, topK: topK!, scale: 2.827, correctionBias },
          ...(groupScores > 0 ? { groups: groups!, topGroups: topGroups! } : {}),
        };
        const logits = random.randn([20, experts!]);
        await checkRouting(backend, logits, options);
        // So small that adding 1 would make them equal, and so large that their powers overflow.
        for (const factor of experts === 60 ? [2 ** -40, 500] : []) {
          const scaled = logits.data.map((x) => x * factor) as Float32Array;
          await checkRouting(backend, tensor(scaled, logits.shape), options);
        }
      }
    });
  }

  test("ops.linear() of all dtypes is exact on numbers that are", async (backend) => {
    for (const x of floats) {
      for (const w of floats) {
        for (const [T, D, N] of [[1, 8, 1], [37, 24 * multiple, 70], [65, 264, 33], [40, 32, 64]] as const) {
          const random = new Generator(T);
          const [input, weight, bias] = [
            exactTensor(random, x, [T, D]),
            exactTensor(random, w, [N, D]),
            exactTensor(random, w, [N]),
          ];
          using scope = new DisposableStack();
          const [a, b, c] = [input, weight, bias].map((tensor) => scope.use(backend.upload(tensor)));
          const output = scope.use(await backend.ops.linear(a!, b!, { bias: c, dtype: "f32" }));
          const actual = (await backend.download(output)).data;
          const [u, v, s] = [numbers(input), numbers(weight), numbers(bias)];
          for (let i = 0; i < actual.length; i++) {
            let sum = s[i % N]!;
            for (let k = 0; k < D; k++) sum += u[Math.floor(i / N) * D + k]! * v[i % N * D + k]!;
            assertEquals(actual[i], sum, `${x} · ${w}, ${T} x ${D} x ${N}, element ${i}`);
          }
        }
      }
    }
  });

  test("the low-level ops do what they say", async (backend) => {
    const size = fc.integer({ min: 1, max: 5 }).map((n) => n * multiple);
    const job = fc.record({
      seed: fc.integer({ min: 0, max: 1e6 }),
      dtype: fc.constantFrom(...dtypes),
      T: fc.integer({ min: 0, max: 40 }),
      ...{ K: fc.integer({ min: 1, max: 4 }), E: fc.integer({ min: 1, max: 12 }), H: size, N: size },
      capacity: fc.integer({ min: 1, max: 20 }),
    });
    const property = fc.asyncProperty(job, async ({ seed, dtype, T, K, E, H, N, capacity }) => {
      const random = new Generator(seed);
      const experts = Int32Array.from(random.rand([T * K]).data, (u) => Math.min(E - 1, Math.floor(u * E)));
      const order = [...experts.keys()].sort((a, b) => experts[a]! - experts[b]! || a - b);
      const sorted = await ops.sort(tensor(experts), E, { backend });
      assertEquals([...sorted.indices.data], order);
      assertEquals([...sorted.values.data], order.map((i) => experts[i]!));
      const { counts, cumsum } = await ops.bincountCumsum(tensor(experts), E, { backend });
      const ofExpert = [...Array(E).keys()].map((e) => order.filter((i) => experts[i] === e));
      assertEquals([...counts.data], ofExpert.map(({ length }) => length));
      assertEquals([...cumsum.data], [...Array(E).keys()].map((e) => order.filter((i) => experts[i]! <= e).length));

      const x = exactTensor(random, dtype, [T, H]), row = numbers(x);
      const bins = await ops.gather(x, sorted.indices, cumsum, { topK: K, capacity, backend });
      assertEquals(bins.shape, [E, capacity, H]);
      const binned = ofExpert.flatMap((list) =>
        [...Array(capacity).keys()].flatMap((c) =>
          [...Array(H).keys()].map((h) => c < list.length ? row[Math.floor(list[c]! / K) * H + h]! : 0)
        )
      );
      assertEquals([...numbers(bins)], binned);

      const b = exactTensor(random, dtype, [E, H, N]), right = numbers(b);
      const product = await ops.batchedMatmul(bins, b, { backend });
      assertEquals(product.shape, [E, capacity, N]);
      const products = Float32Array.from({ length: E * capacity * N }, (_, i) => {
        const r = Math.floor(i / N), e = Math.floor(r / capacity);
        return [...Array(H).keys()].reduce((sum, h) => sum + binned[r * H + h]! * right[(e * H + h) * N + i % N]!, 0);
      });
      assertEquals([...numbers(product)], [...numbers(convert(tensor(products, product.shape), dtype))]);

      const weights = exactTensor(random, dtype, [T, K]), w = numbers(weights), rows = numbers(product);
      const output = await ops.scatter(product, sorted.indices, cumsum, weights, { backend });
      const sums = Float32Array.from({ length: T * N }, (_, i) => {
        let sum = 0;
        for (let slot = Math.floor(i / N) * K, end = slot + K; slot < end; slot++) {
          const e = experts[slot]!, c = ofExpert[e]!.indexOf(slot);
          if (c < capacity) sum += w[slot]! * rows[(e * capacity + c) * N + i % N]!;
        }
        return sum;
      });
      assertEquals([...numbers(output)], [...numbers(convert(tensor(sums, [T, N]), dtype))]);

      if (T === 0) return;
      const picks = Int32Array.from(random.rand([7]).data, (u) => Math.min(T - 1, Math.floor(u * T)));
      const selected = await ops.indexSelect(x, tensor(picks), { backend });
      assertEquals([...numbers(selected)], [...picks].flatMap((t) => [...row.subarray(t * H, (t + 1) * H)]));
    });
    await fc.assert(property, { numRuns: runs, seed: 3 });
  });

  test("the ops refuse what does not fit, by name", async (backend) => {
    const i32 = (...values: number[]) => tensor(Int32Array.from(values));
    const f16 = (...shape: number[]) => convert(new Generator(1).randn(shape), "f16");
    const options = { backend };
    await assertRejects(
      () => ops.sort(i32(0, 3), 3, options),
      RangeError,
      "values must hold integers from 0 to 2, got 3",
    );
    await assertRejects(() => ops.bincountCumsum(f16(3), 3, options), TypeError, "values must be of dtype i32");
    await assertRejects(() => ops.indexSelect(f16(3, 8), i32(3), options), RangeError, "indices must hold integers");
    await assertRejects(
      () => ops.batchedMatmul(f16(1, 2, 8), f16(1, 16, 8), options),
      RangeError,
      "b must have shape [1, 8, 8]",
    );
    using input = backend.upload(f16(2, 8)), weight = backend.upload(f16(3, 8));
    const linear = () => backend.ops.linear(input, weight, { bias: null } as never);
    await assertRejects(async () => await linear(), TypeError, "bias must be a tensor, got null");
    const gather = () => ops.gather(f16(2, 8), i32(0, 1), i32(2, 1), { ...options, capacity: 2 });
    await assertRejects(gather, RangeError, "cumsum must hold integers that never decrease");
    const scatter = () => ops.scatter(f16(1, 2, 8), i32(1, 1), i32(2), f16(2, 1), options);
    await assertRejects(scatter, RangeError, "indices must hold each integer");
  });
}
