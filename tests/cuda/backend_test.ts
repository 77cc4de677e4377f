import { assertEquals } from "@std/assert";
import { type DenseInputs, experts, type Tensor } from "../../mod.ts";
import { isStreamTile } from "../../src/cuda/plan/stream.ts";
import { hopperTiles, simtTiles, tensorTiles } from "../../src/cuda/plan/tiles.ts";
import { mapInputs } from "../../src/contract/experts_inputs.ts";
import { jobChecks } from "../../src/verify/verify.ts";
import { WorkerPool } from "../../src/wasm/worker_pool.ts";
import { makeJob } from "../../src/workload/workload.ts";
import { allVariants, testBackend } from "../backend_suite.ts";
import { checkAgainstNaive, firstTokens, randomInputs, scaledInputs } from "../random_inputs.ts";
import { naiveExperts, numbers } from "../naive.ts";
import { toolkit } from "../toolkit.ts";
import { emulated, openEmulated } from "./emulated.ts";

// Runs the suite of all backends for each way to build the kernels and for several tile shapes. Sizes that are multiples of 8 use
// tensor cores (without bf16 on sm_75); all other sizes and f32 do not. hopper_test.ts tests Hopper.
for (
  const [arch, rows, dtypes] of [
    [75, undefined, ["f16", "bf16"]],
    [80, 256, ["f16", "bf16", "f32"]],
    [80, 16, ["f16", "bf16"]],
  ] as const
) {
  const title = `cuda, ${emulated}, sm_${arch}${rows ? `, tiles of ${rows} rows` : ""}`;
  const variants = { ...allVariants, dtypes };
  const open = async () => (await openEmulated(arch, rows)).backend;
  testBackend(title, open, { ignore: !toolkit, multiple: 8, runs: 20, variants });
}

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name: `cuda, ${emulated}: ${name}`, ignore: !toolkit, fn });
}

const tensorRows = tensorTiles(80).map(({ rows }) => rows);
const simtRows = simtTiles.map(({ rows }) => rows);
const hopper = hopperTiles().filter((tile) => "boxDepth" in tile);
const hopperRows = hopper.map(({ rows }) => rows);

for (
  const [dtype, weightLayout, tileRows, arch] of [
    ...tensorRows.flatMap((rows) => [["f16", "in-out", rows, 80] as const, ["bf16", "out-in", rows, 80] as const]),
    ...simtRows.map((rows) => ["f32", "in-out", rows, 80] as const),
    ...hopperRows.flatMap((rows) => [["f16", "in-out", rows, 90] as const, ["bf16", "out-in", rows, 90] as const]),
  ]
) {
  const title = `sm_${arch}, ${dtype}, ${weightLayout}, tiles of ${tileRows} rows`;
  test(`${title} give the same bits in every order of threads, without bank conflicts`, async () => {
    const { backend: opened, control } = await openEmulated(arch, tileRows);
    using backend = opened;
    control.reset();
    const inputs = randomInputs({ T: 200, H: 72, I: 136, E: 3, K: 2 }, 3, { dtype, weightLayout });
    const options = { weightLayout, backend };
    const expected = (await experts(inputs, options)).data;
    for (const [seed, preempt] of [[1, 0], [3, 50], [4, 7]] as const) {
      control.schedule(seed, preempt);
      assertEquals((await experts(inputs, options)).data, expected, `seed ${seed}`);
    }
    control.schedule(0);
    const tile = arch === 90 ? hopper.find(({ rows }) => rows === tileRows) : undefined;
    const suffix = `${tile?.name ?? tileRows}_${dtype}`;
    const layout = weightLayout.replace("-", "_");
    const kernels = dtype === "f32"
      ? [`simt_${suffix}`]
      : tile && isStreamTile(tile)
      ? [`${suffix}_${layout}`]
      : [`gated_${suffix}_${layout}`, `plain_${suffix}_${layout}`];
    for (const kernel of kernels) {
      const { launches, bankConflicts, copyConflicts } = control.counters(kernel);
      assertEquals({ bankConflicts, copyConflicts }, { bankConflicts: 0, copyConflicts: 0 }, kernel);
      assertEquals(launches, 8 / kernels.length, kernel);
    }
  });
}

test("a token's bits depend on neither the other tokens nor the tile shape", async () => {
  for (const dtype of ["f16", "bf16", "f32"] as const) {
    const inputs = scaledInputs({ T: 300, H: 64, I: 72, E: 2, K: 2 }, 8, { dtype });
    let whole: Tensor["data"] | undefined;
    const shapes = dtype === "f32" ? simtRows.map((rows) => [80, rows]) : [
      ...tensorRows.map((rows) => [80, rows]),
      ...hopperRows.map((rows) => [90, rows]),
    ];
    for (const [arch, rows] of shapes as [number, number][]) {
      const { backend: opened } = await openEmulated(arch, rows);
      using backend = opened;
      whole ??= (await experts(inputs, { backend })).data;
      for (const count of [1, 70, 300]) {
        const part = await experts(firstTokens(inputs, count), { backend });
        assertEquals(
          part.data,
          whole.slice(0, count * 64),
          `${dtype}, sm_${arch}, tiles of ${rows} rows, ${count} tokens`,
        );
      }
    }
  }
});

test("a repeated call runs as a graph and gives the same bits", async () => {
  const { backend: opened, control } = await openEmulated(80);
  using backend = opened;
  control.reset();
  control.reuseAddresses(true);
  using scope = new DisposableStack();
  const inputs = randomInputs({ T: 30, H: 32, I: 40, E: 3, K: 2 }, 6);
  const device = mapInputs(inputs, (tensor) => scope.use(backend.upload(tensor)));
  const run = async () => {
    using output = await backend.experts(device);
    return (await backend.download(output)).data;
  };
  const first = await run();
  for (let i = 0; i < 4; i++) assertEquals(await run(), first);
  const calls = control.log.filter((call) => /Launch|Instantiate/.test(call));
  const kernels = Array(4).fill("cuLaunchKernelEx"); // the sort, two products, gather-and-sum
  assertEquals(calls, [...kernels, ...kernels, "cuGraphInstantiateWithFlags", ...Array(4).fill("cuGraphLaunch")]);
});

for (const arch of [80, 90]) {
  test(`sm_${arch}: a graph is used only for the tensors that it was captured with`, async () => {
    const { backend: opened, control } = await openEmulated(arch);
    using backend = opened;
    control.reuseAddresses(true);
    using scope = new DisposableStack();
    const upload = (inputs: DenseInputs) => mapInputs(inputs, (tensor) => scope.use(backend.upload(tensor)));
    const shape = { T: 30, H: 32, I: 40, E: 3, K: 2 };
    const [inputs, others] = [6, 7].map((seed) => scaledInputs(shape, seed)) as [DenseInputs, DenseInputs];
    const [device, otherDevice] = [upload(inputs), upload(others)];
    const run = async (tensors: typeof device) => {
      using output = await backend.experts(tensors);
      return numbers(await backend.download(output));
    };
    for (let i = 0; i < 3; i++) await run(device);
    for (const [name, other] of Object.entries(otherDevice)) {
      const host = { ...inputs, [name]: others[name as keyof DenseInputs] };
      const { exact, tolerance } = naiveExperts(host);
      for (let i = 0; i < 3; i++) {
        const got = await run({ ...device, [name]: other });
        assertEquals([...exact].filter((value, e) => Math.abs(got[e]! - value) > tolerance[e]!), [], name);
      }
    }
  });
}

test("a thousand tokens with H and I of 512 agree with float64 on sampled tokens", async () => {
  const { backend: opened } = await openEmulated(80);
  using backend = opened;
  using engine = new WorkerPool(1);
  const job = makeJob("small", { batch: 1, seq: 1024, hidden: 512, experts: 8, capacity: null });
  const checks = await Array.fromAsync(jobChecks(backend, engine, { job, samples: 40, runs: 2 }));
  assertEquals(checks.map(({ passed }) => passed), checks.map(() => true), Deno.inspect(checks));
});

test("a thousand experts, and assignments in many chunks, are sorted as in the naive model", async () => {
  const { backend: opened } = await openEmulated(80);
  using backend = opened;
  await checkAgainstNaive(backend, randomInputs({ T: 40, H: 16, I: 8, E: 1024, K: 1 }, 1));
  await checkAgainstNaive(backend, randomInputs({ T: 4000, H: 8, I: 8, E: 7, K: 3 }, 2, { spread: 0.6 }), {
    expertCapacity: 900,
  });
});
