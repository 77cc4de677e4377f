import { assertEquals } from "@std/assert";
import { experts } from "../../mod.ts";
import { randomInputs, type RandomShape, testBackend } from "../backend_suite.ts";
import { toolkit } from "../toolkit.ts";
import { openEmulated } from "./emulated.ts";

// The same suite as the CPU's. One architecture for each way the kernels are built.
for (const arch of [75, 80, 90]) {
  testBackend(`cuda, emulated sm_${arch}`, async () => (await openEmulated(arch)).backend, {
    ignore: !toolkit,
    multiple: 8,
    runs: 20,
  });
}

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name: `cuda, emulated: ${name}`, ignore: !toolkit, fn });
}

const jobs: Record<string, RandomShape> = {
  "tiles of 16 rows": { T: 20, H: 72, I: 136, E: 3, K: 2 },
  "tiles of 64 rows": { T: 100, H: 72, I: 136, E: 3, K: 2 },
  "tiles of 128 rows": { T: 200, H: 72, I: 136, E: 3, K: 2 },
  "tiles of 256 rows": { T: 500, H: 72, I: 136, E: 3, K: 2 },
};

for (const [title, shape] of Object.entries(jobs)) {
  test(`${title} give the same bits in every order of threads, without a bank conflict`, async () => {
    const { backend: opened, control } = await openEmulated(80);
    using backend = opened;
    control.reset();
    const inputs = randomInputs(shape, 3);
    const expected = (await experts(inputs, { backend })).data;
    for (const [seed, preempt] of [[1, 0], [2, 0], [3, 50], [4, 7]] as const) {
      control.schedule(seed, preempt);
      assertEquals((await experts(inputs, { backend })).data, expected, `seed ${seed}`);
    }
    control.schedule(0);
    const [, rows] = title.match(/(\d+) rows/)!;
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
  const { backend: opened } = await openEmulated(80);
  using backend = opened;
  const inputs = randomInputs({ T: 300, H: 64, I: 72, E: 2, K: 2 }, 8);
  const whole = await experts(inputs, { backend });
  for (const count of [1, 10, 60, 150]) {
    const rows = (name: "hiddenStates" | "routerIndices" | "routingWeights") => {
      const { dtype, data, shape: [, width] } = inputs[name];
      return { dtype, data: data.slice(0, count * width!), shape: [count, width!] };
    };
    const part = await experts({
      ...inputs,
      hiddenStates: rows("hiddenStates"),
      routerIndices: rows("routerIndices"),
      routingWeights: rows("routingWeights"),
    }, { backend });
    assertEquals(part.data, whole.data.slice(0, count * 64));
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
