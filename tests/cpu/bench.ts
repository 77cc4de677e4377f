// The rates of the steps of the CPU path, and the fractions of their limits, all measured in one run: `deno task bench:cpu`.
// They are medians of wall times. On a machine that runs other programs, only the fractions are meaningful.
import { CpuBackend } from "../../src/cpu/backend.ts";
import { findBlas } from "../../src/cpu/blas.ts";
import { sortAssignments } from "../../src/cpu/sort.ts";
import { mapInputs } from "../../src/contract/experts_inputs.ts";
import { expertsFlops } from "../../src/contract/experts_sizes.ts";
import { resolveExperts } from "../../src/contract/resolve_experts.ts";
import { tensor, zeros } from "../../src/tensor/tensor.ts";
import { Generator } from "../../src/torch/generator.ts";
import { openBlas } from "../../src/wasm/blas.ts";
import { createContext } from "../../src/wasm/context.ts";
import { wasmDType } from "../../src/wasm/elements.ts";
import { WorkerPool } from "../../src/wasm/worker_pool.ts";
import { kernelModule } from "../../src/wasm/module.ts";
import { benchFew } from "./few_bench.ts";

const f16 = wasmDType("f16");

/** The median time of a call in seconds: of at least five calls in at least a third of a second, after as many warm-up calls. */
async function seconds(run: () => unknown): Promise<number> {
  let times: number[] = [];
  for (const _ of ["warm up", "measure"]) {
    times = [];
    for (const end = performance.now() + 333; times.length < 5 || performance.now() < end;) {
      const start = performance.now();
      await run();
      times.push((performance.now() - start) / 1000);
    }
  }
  return times.sort((a, b) => a - b)[times.length >> 1]!;
}

function report(
  step: string,
  threads: number,
  rate: number,
  unit: string,
  floor?: { rate: number; name: string },
): void {
  const fraction = floor ? `${(100 * rate / floor.rate).toFixed(0).padStart(4)} % of ${floor.name}` : "";
  const amount = rate < 10 ? rate.toFixed(2) : rate.toFixed(0);
  console.log(`${step.padEnd(34)}${`${threads}`.padStart(3)}${amount.padStart(8)} ${unit.padEnd(10)}${fraction}`);
}

const context = createContext(kernelModule(), openBlas);
const { kernels } = context;
console.log("step                          threads    rate");

// The limits of one thread: multiply-adds in registers, and copies between memories larger than the caches.
const rounds = 20_000;
const madds = { name: "multiply-adds", rate: rounds * 48 * 8 / await seconds(() => kernels.maddPeak(rounds)) / 1e9 };
report("multiply-adds in registers", 1, madds.rate, "GFLOP/s");
const megabytes = 64;
const [source, target] = [0, 0].map(() => new Uint16Array(new SharedArrayBuffer(megabytes << 20)));
const copies = { name: "copies", rate: 2 * megabytes / 1024 / await seconds(() => target!.set(source!)) };
report("copies of shared memory", 1, copies.rate, "GiB/s");

const part = new Uint16Array(1 << 17), parts = source!.length / part.length;
const read = () => {
  for (let i = 0; i < parts; i++) part.set(source!.subarray(i * part.length, (i + 1) * part.length));
};
const reads = { name: "reads", rate: megabytes / 1024 / await seconds(read) };
report("reads of shared memory", 1, reads.rate, "GiB/s");

// The kernels, on panels of the sizes in the op.
{
  const depth = 360, tiles = 20, panels = 96, words = 32768, columns = panels * 8, rows = tiles * 6;
  const at = context.allocate({
    words: (words + 624) * 4,
    halves: Math.max(depth, rows) * columns * 2,
    a: tiles * depth * 24,
    b: panels * depth * 32,
    c: tiles * panels * 192,
  });
  for (let i = 0; i < 624; i++) context.u32[at.words / 4 + i] = Math.imul(i + 1, 0x9e3779b1);
  const twists = await seconds(() => kernels.twist(at.words, words));
  report("twister", 1, words / twists / 1e6, "M/s");
  const normals = await seconds(() => kernels.normals(f16, at.words + 624 * 4, words, at.halves, 0.02));
  report("normals of words, to f16", 1, words / normals / 1e6, "M/s");
  kernels.normals(f16, at.words + 624 * 4, words, at.halves, 0.02);
  const widen = () => kernels.widen(f16, false, at.halves, columns * 2, depth, panels, 16, 8, at.b, 32, depth * 32, 16);
  report("pack B", 1, depth * columns / await seconds(widen) / 1e6, "M/s");
  const pack = () => kernels.packSix(f16, at.halves, depth * 2, depth, tiles, at.a);
  report("pack A", 1, rows * depth / await seconds(pack) / 1e6, "M/s");
  const multiply = () => kernels.multiply(tiles, panels, depth, at.a, at.b, at.c, tiles * 192, false);
  report("GEMM of packed panels", 1, 2 * rows * columns * depth / await seconds(multiply) / 1e9, "GFLOP/s", madds);
}
{
  const slots = 4, columns = 2880;
  const at = context.allocate({ rows: slots * columns * 2, weights: slots * 4, out: columns * 2 });
  const combine = () => {
    for (let i = 0; i < 1000; i++) kernels.combine(f16, at.rows, columns * 2, at.weights, slots, columns, at.out);
  };
  report("combine, 4 slots", 1, 1000 * slots * columns / await seconds(combine) / 1e6, "M/s");
}

// A layer of the reference job's width with two experts.
const [tokens, hidden, intermediate, experts] = [2048, 2880, 1440, 2] as const;
const indices = tensor(Int32Array.from({ length: tokens }, (_, i) => i % experts), [tokens, 1]);
const weights = tensor(new Float16Array(tokens).fill(1), [tokens, 1]);
const shapes = [[tokens, hidden], [experts, hidden, 2 * intermediate], [experts, intermediate, hidden]] as const;
const [hiddenStates, gateUpProj, downProj] = shapes.map((shape) => zeros("f16", shape));
const inputs = {
  hiddenStates: hiddenStates!,
  routerIndices: indices,
  routingWeights: weights,
  gateUpProj: gateUpProj!,
  downProj: downProj!,
};
const shape = resolveExperts(inputs);
const sorting = await seconds(() => sortAssignments(indices.data as Int32Array, shape));
report("sort", 1, tokens / sorting / 1e6, "M/s");

const blas = findBlas("auto");
let bare = madds;
if (blas) {
  const [m, n, k] = [1024, 2 * intermediate, hidden];
  const at = context.allocate({ a: m * k * 4, b: k * n * 4, c: m * n * 4 });
  const [a, b, c] = [at.a, at.b, at.c].map((from) => context.f32.subarray(from / 4));
  context.f32.fill(0.5, at.a / 4, at.c / 4);
  const sgemm = context.sgemm(blas.path);
  bare = {
    name: "bare sgemm",
    rate: 2 * m * n * k / await seconds(() => sgemm(false, m, n, k, a!, k, b!, n, c!, n, false)) / 1e9,
  };
  report(`bare sgemm, ${blas.name}`, 1, bare.rate, "GFLOP/s");
}

const threadCounts = [...new Set([1, 2, navigator.hardwareConcurrency])].filter((n) =>
  n <= navigator.hardwareConcurrency
);
for (const threads of threadCounts) {
  using pool = new WorkerPool(threads);
  const times = await seconds(async () => {
    const random = new Generator(0);
    for (const { data } of [hiddenStates!, gateUpProj!, downProj!]) {
      await random.fillNormal(pool, data as Float16Array, { scale: 0.05 });
    }
  });
  const drawn = shapes.reduce((sum, sizes) => sum + sizes.reduce((a: number, b) => a * b), 0);
  report("inputs", threads, drawn / times / 1e6, "M/s");

  for (const [library, floor] of [["none", madds], ...(blas ? [[blas.path, bare] as const] : [])] as const) {
    using backend = new CpuBackend({ pool, blas: library });
    using scope = new DisposableStack();
    const device = mapInputs(inputs, (host) => scope.use(backend.upload(host)));
    const time = await seconds(async () => {
      using _output = await backend.experts(device);
    });
    const rate = expertsFlops(shape, tokens) / time / 1e9;
    report(`the op, ${backend.engine}`, threads, rate, "GFLOP/s", {
      name: `${threads} x ${floor.name}`,
      rate: threads * floor.rate,
    });
    if (library !== "none") continue;

    const one = { ...device };
    for (const [name, width] of [["hiddenStates", hidden], ["routerIndices", 2], ["routingWeights", 2]] as const) {
      const { dtype, data } = inputs[name];
      one[name] = scope.use(backend.upload({ dtype, shape: [1, width], data: data.slice(0, width) }));
    }
    const perToken = await seconds(async () => {
      using _output = await backend.experts(one);
    });
    const bytes = gateUpProj!.data.byteLength + downProj!.data.byteLength;
    report("weights, one row an expert", threads, bytes / 2 ** 30 / perToken, "GiB/s", {
      name: `${threads} x ${reads.name}`,
      rate: threads * reads.rate,
    });
    const router = scope.use(backend.upload(zeros("f16", [32, hidden])));
    const projecting = await seconds(async () => {
      using _output = await backend.ops.linear(device.hiddenStates, router);
    });
    report("linear, 32 columns", threads, 2 * tokens * hidden * 32 / projecting / 1e9, "GFLOP/s", {
      name: `${threads} x ${madds.name}`,
      rate: threads * madds.rate,
    });
  }
}

await benchFew({ seconds, report }, context, madds.rate);
