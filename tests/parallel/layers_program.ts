// Runs goldens, whole layers and wrong calls over several ranks. Prints one JSON line: the names of the checks that failed.
import { openCudaBackend } from "../../src/cuda/backend.ts";
import type { MoeLayer } from "../../src/contract/moe.ts";
import { mapLayer } from "../../src/contract/resolve_moe.ts";
import { openParallel } from "../../src/parallel/open_parallel.ts";
import { shareOf } from "../../src/parallel/exchange_plan.ts";
import { randomInputs } from "../random_inputs.ts";
import { Generator } from "../../src/torch/generator.ts";
import { convert, type Tensor } from "../../src/tensor/tensor.ts";
import { sameBits, sliceExperts, sliceRows } from "./slices.ts";

const exchange = Deno.args[0] === "tokens" ? "tokens" : "assignments";
using parallel = await openParallel({ exchange, timeout: 30 });
using single = await openCudaBackend({ device: parallel.rank });
const { rank, ranks } = parallel;
const failed: string[] = [];

async function check(name: string, run: () => Promise<boolean>): Promise<void> {
  if (!await run()) failed.push(name);
}

/** A layer with a router, and with a shared expert if asked for. */
function makeLayer(experts: number, shared: boolean): { layer: MoeLayer; hidden: Tensor } {
  const shape = { T: 5 * ranks, H: 32, I: 24, E: experts, K: 2 };
  const { hiddenStates, gateUpProj, downProj } = randomInputs(shape, 7, { dtype: "bf16", bias: false });
  const random = new Generator(8);
  const weight = convert(random.randn([experts, 32]), "bf16");
  const one = randomInputs({ ...shape, E: 1, K: 1 }, 9, { dtype: "bf16", bias: false });
  const layer: MoeLayer = {
    ...{
      gateUpProj,
      downProj,
      activation: "silu",
      router: { weight, options: { kind: "softmax-renormalize", topK: 2 } },
    },
    ...shared && {
      sharedExpert: {
        ...{ gateUpProj: one.gateUpProj, downProj: one.downProj, activation: "silu" as const },
        gate: convert(random.randn([1, 32]), "bf16"),
      },
    },
  };
  return { layer, hidden: hiddenStates };
}

for (const shared of [false, true]) {
  await check(`moe, shared expert: ${shared}`, async () => {
    const { layer, hidden } = makeLayer(2 * ranks + 1, shared);
    const experts = shareOf(2 * ranks + 1, ranks, rank), tokens = shareOf(5 * ranks, ranks, rank);
    using scope = new DisposableStack();
    const whole = mapLayer(layer, (value) => scope.use(single.upload(value)));
    const expected = await single.download(scope.use(await single.moe(scope.use(single.upload(hidden)), whole)));
    const { gateUpProj, downProj } = layer;
    const own = { ...layer, gateUpProj: sliceExperts(gateUpProj, experts), downProj: sliceExperts(downProj, experts) };
    const uploaded = mapLayer(own, (value) => scope.use(parallel.upload(value)));
    const input = scope.use(parallel.upload(sliceRows(hidden, tokens)));
    let same = true;
    for (let i = 0; i < 3; i++) { // the third call is a graph in the exchange of tokens
      using output = await parallel.moe(input, uploaded);
      const actual = await parallel.download(output);
      same &&= exchange === "tokens" || sameBits(actual, sliceRows(expected, tokens));
    }
    return same;
  });
}

await check("capture", async () => {
  const { layer, hidden } = makeLayer(2 * ranks, true);
  const experts = shareOf(2 * ranks, ranks, rank), tokens = shareOf(5 * ranks, ranks, rank);
  using scope = new DisposableStack();
  const { gateUpProj, downProj } = layer;
  const own = { ...layer, gateUpProj: sliceExperts(gateUpProj, experts), downProj: sliceExperts(downProj, experts) };
  const uploaded = mapLayer(own, (value) => scope.use(parallel.upload(value)));
  const input = scope.use(parallel.upload(sliceRows(hidden, tokens)));
  const options = { tokensPerRank: Array<number>(ranks).fill(5) };
  const run = () => parallel.moe(input, uploaded, options);
  if (exchange === "assignments") return (await message(() => parallel.capture(run))).startsWith("Cannot capture");
  const before = await parallel.download(scope.use(await run()));
  const captured = scope.use(await parallel.capture(run));
  const other = sliceRows(hidden, { start: 0, end: 5 });
  await parallel.fill(input, (piece, start) => void piece.set(other.data.subarray(start, start + piece.length)));
  const expected = await parallel.download(scope.use(await run()));
  await captured.replay();
  const actual = await parallel.download(captured.result);
  return sameBits(actual, expected) && (rank === 0 || !sameBits(actual, before));
});

async function message(run: () => Promise<unknown>): Promise<string> {
  try {
    await run();
    return "";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

const inputs = randomInputs({ T: 3, H: 16, I: 16, E: 2, K: 1 }, 1, {});
using scope = new DisposableStack();
const uploaded = Object.fromEntries(
  Object.entries(inputs).filter(([, value]) => value !== undefined)
    .map(([name, value]) => [name, scope.use(parallel.upload(value))]),
) as unknown as Parameters<typeof parallel.experts>[0];

await check(
  "a wrong number of experts is refused",
  async () =>
    (await message(() => parallel.experts(uploaded, { totalExperts: 3 * ranks })))
      .startsWith(`downProj must have the `),
);
await check(
  "a wrong tokensPerRank is refused",
  async () =>
    (await message(() => parallel.experts(uploaded, { tokensPerRank: [1] }))).includes(
      `tokensPerRank must have ${ranks} numbers of tokens, the one of rank ${rank} being 3, got`,
    ),
);
await check(
  "ranks that make different calls are named",
  async () =>
    exchange === "tokens" ||
    (await message(() => parallel.experts(uploaded, { expertCapacity: rank === 1 ? 2 : 3 }))).includes(
      "All ranks must make the same call",
    ),
);
await check(
  "values are gathered in the order of the ranks",
  async () =>
    JSON.stringify(await parallel.allGather({ rank })) ===
      JSON.stringify(Array.from({ length: ranks }, (_, rank) => ({ rank }))),
);
await check("a measurement gives every rank the same time", async () => {
  const { milliseconds } = await parallel.measure(() => Promise.resolve());
  return (await parallel.allGather(milliseconds)).every((other) => other === milliseconds);
});
console.log(JSON.stringify({ rank, failed, live: parallel.memory.liveBytes }));
