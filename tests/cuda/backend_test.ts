import { assertEquals } from "@std/assert";
import { experts, type Tensor } from "../../mod.ts";
import { tileShapes } from "../../src/cuda/tiles.ts";
import { verify } from "../../src/verify/verify.ts";
import { Engine } from "../../src/wasm/engine.ts";
import { makeJob } from "../../src/workload.ts";
import { checkAgainstNaive, randomInputs, testBackend } from "../backend_suite.ts";
import { toolkit } from "../toolkit.ts";
import { emulated, openEmulated } from "./emulated.ts";

// The same suite as the CPU's: an architecture for each way the kernels are built, and each shape of tiles.
for (const [arch, rows] of [[75], [80, 256], [80, 16], [90, 128], [90, 64]] as const) {
  const title = `cuda, ${emulated}, sm_${arch}${rows ? `, tiles of ${rows} rows` : ""}`;
  testBackend(title, async () => (await openEmulated(arch, rows)).backend, {
    ignore: !toolkit,
    multiple: 8,
    runs: 20,
    variants: { dtypes: ["f16"], weightLayouts: ["in-out"], activations: false },
  });
}

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name: `cuda, ${emulated}: ${name}`, ignore: !toolkit, fn });
}

for (const rows of tileShapes.map((shape) => shape.rows)) {
  test(`tiles of ${rows} rows give the same bits in every order of threads, without a bank conflict`, async () => {
    const { backend: opened, control } = await openEmulated(80, rows);
    using backend = opened;
    control.reset();
    const inputs = randomInputs({ T: 200, H: 72, I: 136, E: 3, K: 2 }, 3);
    const expected = (await experts(inputs, { backend })).data;
    for (const [seed, preempt] of [[1, 0], [2, 0], [3, 50], [4, 7]] as const) {
      control.schedule(seed, preempt);
      assertEquals((await experts(inputs, { backend })).data, expected, `seed ${seed}`);
    }
    control.schedule(0);
    for (const kernel of [`gate_up_${rows}_f16`, `down_${rows}_f16`]) {
      const { launches, bankConflicts, copyConflicts } = control.counters(kernel);
      assertEquals(
        { launches, bankConflicts, copyConflicts },
        { launches: 5, bankConflicts: 0, copyConflicts: 0 },
        kernel,
      );
    }
  });
}

test("a token's bits depend on neither the other tokens nor the tile shape", async () => {
  const inputs = randomInputs({ T: 300, H: 64, I: 72, E: 2, K: 2 }, 8);
  let whole: Tensor["data"] | undefined;
  for (const { rows } of tileShapes) {
    const { backend: opened } = await openEmulated(80, rows);
    using backend = opened;
    whole ??= (await experts(inputs, { backend })).data;
    for (const count of [1, 70, 300]) {
      const first = ({ dtype, data, shape: [, width] }: Tensor): Tensor => ({
        dtype,
        data: data.slice(0, count * width!),
        shape: [count, width!],
      });
      const part = await experts({
        ...inputs,
        hiddenStates: first(inputs.hiddenStates),
        routerIndices: first(inputs.routerIndices),
        routingWeights: first(inputs.routingWeights),
      }, { backend });
      assertEquals(part.data, whole.slice(0, count * 64), `tiles of ${rows} rows, ${count} tokens`);
    }
  }
});

test("a call that comes again runs as a graph and gives the same bits", async () => {
  const { backend: opened, control } = await openEmulated(80);
  using backend = opened;
  control.reset();
  control.reuseAddresses(true);
  using scope = new DisposableStack();
  const inputs = randomInputs({ T: 30, H: 32, I: 40, E: 3, K: 2 }, 6);
  const device = Object.fromEntries(
    Object.entries(inputs).map(([name, tensor]) => [name, scope.use(backend.upload(tensor))]),
  ) as unknown as Parameters<typeof backend.experts>[0];
  const run = async () => {
    using output = await backend.experts(device);
    return (await backend.download(output)).data;
  };
  const first = await run();
  for (let i = 0; i < 4; i++) assertEquals(await run(), first);
  const calls = control.log.filter((call) => /Launch|Instantiate/.test(call));
  const six = Array.from({ length: 6 }, () => "cuLaunchKernel");
  assertEquals(calls, [...six, ...six, "cuGraphInstantiateWithFlags", ...Array(4).fill("cuGraphLaunch")]);
});

test("thousands of tokens, H and I of 512, agree with float64 on sampled tokens", async () => {
  const { backend: opened } = await openEmulated(80);
  using backend = opened;
  using engine = new Engine(1);
  const job = makeJob("small", { batch: 2, seq: 1024, hidden: 512, experts: 8, capacity: null });
  const checks = await Array.fromAsync(verify(backend, engine, { job, samples: 40, runs: 2 }));
  assertEquals(checks.map(({ passed }) => passed), checks.map(() => true), Deno.inspect(checks));
});

test("a thousand experts, and assignments in many chunks, are sorted as the naive model sorts them", async () => {
  const { backend: opened } = await openEmulated(80);
  using backend = opened;
  await checkAgainstNaive(backend, randomInputs({ T: 40, H: 16, I: 8, E: 1024, K: 1 }, 1));
  await checkAgainstNaive(backend, randomInputs({ T: 4000, H: 8, I: 8, E: 7, K: 3 }, 2, { spread: 0.6 }), {
    expertCapacity: 900,
  });
});
