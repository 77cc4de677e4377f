// Small jobs that together reach every branch of the kernels: each tile shape, ragged in every direction, and more than one
// round of every loop over a grid, on a GPU of four multiprocessors.
import type { BackendTensor } from "../../src/backend/backend.ts";
import { type CudaBackend, openCudaBackend } from "../../src/cuda/backend.ts";
import type { KernelLaunch } from "../../src/cuda/driver/kernel.ts";
import type { ExpertsOptions } from "../../src/contract/experts.ts";
import { experts } from "../../src/ops/experts.ts";
import { moe } from "../../src/ops/moe.ts";
import { type RouterOptions, routerRules } from "../../src/routing/router.ts";
import { convert, type DType, type Tensor, tensor } from "../../src/tensor/tensor.ts";
import { Generator } from "../../src/torch/generator.ts";
import { randomInputs, type RandomInputsOptions, type RandomShape } from "../backend_suite.ts";
import { TestDevice } from "./device.ts";
import { sortJob, sortOnDevice } from "../cuda/sort.ts";

/** A job: what it computes, on the emulator in a library. */
export interface Job {
  readonly name: string;
  readonly run: (library: string) => Promise<readonly ArrayBufferView[]>;
  /** About every how many accesses another thread goes on; by default, only where one waits. */
  readonly preempt?: number;
}

const open = new Map<number | undefined, Promise<CudaBackend>>();

/** The backend with tiles of so many rows: opening one takes longer than most jobs. */
function backendOf(library: string, tileRows?: number): Promise<CudaBackend> {
  const backend = open.get(tileRows) ?? openCudaBackend({ library, tileRows });
  open.set(tileRows, backend);
  return backend;
}

const floats = ["f16", "bf16", "f32"] as const satisfies DType[];

type ExpertsJob = [tileRows: number, shape: RandomShape, options?: ExpertsOptions, inputs?: RandomInputsOptions];

const outIn = { weightLayout: "out-in" } as const;
const concatenated = { gateUpLayout: "concatenated" } as const;
const bothOther = { ...outIn, ...concatenated };

/** The rows of the tiles, then what is computed with them. */
const products: readonly ExpertsJob[] = [
  // Tensor cores.
  [16, { T: 1, H: 8, I: 8, E: 1, K: 1 }],
  [16, { T: 40, H: 72, I: 136, E: 3, K: 2 }, { expertCapacity: 11 }],
  [16, { T: 300, H: 40, I: 136, E: 1, K: 1 }, {}, { bias: "gate-up" }],
  [16, { T: 20, H: 40, I: 72, E: 2, K: 1 }, bothOther, { dtype: "bf16" }],
  [16, { T: 20, H: 40, I: 72, E: 2, K: 1 }, { ...concatenated, activation: "gelu" }],
  [16, { T: 20, H: 40, I: 72, E: 2, K: 1 }, { ...outIn, activation: "gelu-tanh" }],
  [16, { T: 20, H: 40, I: 72, E: 2, K: 1 }, { activation: "relu2", gated: false }, { dtype: "bf16", bias: false }],
  [16, { T: 20, H: 40, I: 72, E: 2, K: 1 }, { activation: "silu", gated: false }],
  [16, { T: 20, H: 40, I: 72, E: 2, K: 1 }, { activation: "gelu", gated: false, ...outIn }],
  [16, { T: 20, H: 40, I: 72, E: 2, K: 1 }, { activation: "gelu-tanh", gated: false }],
  [16, { T: 20, H: 40, I: 72, E: 2, K: 1 }, { activationLimit: 0.5 }],
  [16, { T: 256, H: 128, I: 64, E: 1, K: 1 }], // as many tiles as go along the columns together
  [64, { T: 130, H: 104, I: 72, E: 3, K: 2 }, { expertCapacity: 75 }, { dense: true }],
  [64, { T: 70, H: 40, I: 136, E: 1, K: 1 }, { ...outIn, activation: "silu" }],
  [64, { T: 70, H: 72, I: 72, E: 1, K: 1 }, { ...bothOther, activation: "relu2" }],
  [128, { T: 140, H: 104, I: 72, E: 1, K: 1 }, concatenated],
  [128, { T: 140, H: 40, I: 136, E: 1, K: 1 }, { ...outIn, activation: "gelu" }],
  [128, { T: 140, H: 72, I: 72, E: 1, K: 1 }, { ...outIn, activation: "silu", gated: false }],
  [256, { T: 300, H: 72, I: 136, E: 1, K: 1 }, { activation: "gelu" }],
  [256, { T: 270, H: 40, I: 72, E: 1, K: 1 }, bothOther],
  // The rest.
  [16, { T: 20, H: 37, I: 45, E: 2, K: 1 }, bothOther, { dtype: "bf16" }],
  [16, { T: 20, H: 72, I: 45, E: 2, K: 2 }, concatenated, { dtype: "f32" }],
  [16, { T: 20, H: 69, I: 77, E: 2, K: 1 }, { ...outIn, activation: "gelu" }, { dtype: "f32", bias: false }],
  [16, { T: 20, H: 13, I: 33, E: 2, K: 1 }, { activation: "gelu-tanh" }],
  [16, { T: 20, H: 13, I: 33, E: 2, K: 1 }, { activation: "relu2", ...outIn }],
  [16, { T: 20, H: 13, I: 33, E: 2, K: 1 }, { activation: "gelu", gated: false }],
  [16, { T: 20, H: 13, I: 33, E: 2, K: 1 }, { activationLimit: 0.5 }, { dtype: "f32" }],
  [16, { T: 280, H: 13, I: 67, E: 1, K: 1 }, { activation: "silu" }],
  [128, { T: 330, H: 69, I: 77, E: 2, K: 1 }, { activation: "silu", gated: false }, { dtype: "f32" }],
  [128, { T: 140, H: 18, I: 45, E: 1, K: 1 }, bothOther, { dtype: "f16" }],
  [16, { T: 256, H: 13, I: 9, E: 1, K: 1 }, {}, { dtype: "f32" }], // the same
  [16, { T: 20, H: 128, I: 32, E: 2, K: 1 }, {}, { dtype: "f32" }],
  [128, { T: 300, H: 5, I: 13, E: 1, K: 1 }, {}, { dtype: "bf16" }],
  // What may be left out.
  [16, { T: 40, H: 264, I: 8, E: 3, K: 2 }, { expertCapacity: 11 }, { extra: "addend with weights" }],
  [16, { T: 20, H: 37, I: 8, E: 3, K: 2 }, { expertCapacity: 5 }, { extra: "addend with weights", dtype: "bf16" }],
  [16, { T: 20, H: 37, I: 8, E: 3, K: 2 }, {}, { extra: "addend", dtype: "f32" }],
  [16, { T: 20, H: 40, I: 8, E: 3, K: 2 }, {}, { extra: "addend", dtype: "bf16" }],
  [16, { T: 20, H: 40, I: 8, E: 3, K: 2 }, {}, { extra: "f32 weights", dense: true }],
  [16, { T: 20, H: 37, I: 8, E: 3, K: 2 }, {}, { extra: "f32 weights", dtype: "bf16" }],
  [16, { T: 20, H: 264, I: 8, E: 3, K: 3 }, {}, { extra: "input weights" }],
  [16, { T: 20, H: 37, I: 8, E: 3, K: 1 }, {}, { extra: "input weights", dtype: "bf16" }],
  [64, { T: 70, H: 40, I: 72, E: 1, K: 1 }, {}, { extra: "input weights" }],
  [128, { T: 140, H: 18, I: 45, E: 1, K: 1 }, {}, { extra: "input weights", dtype: "f32" }],
  // The sort and the sum over slots.
  [16, { T: 30, H: 8, I: 8, E: 33, K: 3 }, { expertCapacity: 2 }],
  [16, { T: 5, H: 8, I: 8, E: 1024, K: 1 }],
  [256, { T: 4300, H: 8, I: 8, E: 5, K: 2 }, { expertCapacity: 20 }, { spread: 0.6 }],
];

/** The same for wgmma. */
const wgmmaProducts: readonly ExpertsJob[] = [
  [128, { T: 20, H: 40, I: 72, E: 2, K: 1 }],
  [128, { T: 20, H: 40, I: 72, E: 2, K: 1 }, outIn],
  [128, { T: 20, H: 40, I: 72, E: 2, K: 1 }, concatenated, { dtype: "bf16" }],
  [128, { T: 20, H: 40, I: 72, E: 2, K: 1 }, bothOther],
  [128, { T: 20, H: 40, I: 72, E: 2, K: 1 }, {}, { bias: false }],
  [128, { T: 20, H: 40, I: 72, E: 2, K: 1 }, bothOther, { bias: false, dtype: "bf16" }],
  [128, { T: 20, H: 40, I: 72, E: 2, K: 1 }, { activationLimit: 0.5 }],
  [128, { T: 20, H: 40, I: 72, E: 2, K: 1 }, { ...concatenated, activation: "silu" }],
  [128, { T: 140, H: 208, I: 200, E: 3, K: 2 }, { expertCapacity: 90 }, { dense: true }],
  [256, { T: 300, H: 72, I: 136, E: 1, K: 1 }],
  [256, { T: 270, H: 200, I: 72, E: 1, K: 1 }, bothOther],
  [256, { T: 200, H: 72, I: 136, E: 1, K: 1 }, { ...concatenated, expertCapacity: 150 }],
  [128, { T: 20, H: 128, I: 192, E: 2, K: 1 }, outIn], // steps and tiles that come out even
  [128, { T: 600, H: 200, I: 104, E: 2, K: 1 }], // more tiles than multiprocessors
  [256, { T: 20, H: 328, I: 200, E: 2, K: 1 }, outIn], // more steps than stages
];

function bytes({ data }: Tensor): ArrayBufferView {
  return data.slice(); // of memory that is not shared
}

function productJob([tileRows, shape, options = {}, inputs = {}]: ExpertsJob, seed: number): Job {
  return {
    name: `experts ${JSON.stringify({ tileRows, ...shape, ...options, ...inputs })}`,
    run: async (library) => {
      const backend = await backendOf(library, tileRows);
      return [bytes(await experts(randomInputs(shape, seed, { ...inputs, ...options }), { ...options, backend }))];
    },
  };
}

/** Logits that are hard to tell apart, or hard to calculate with. */
const logitKinds: Readonly<Record<string, (x: number, i: number) => number>> = {
  normal: (x) => x,
  special: (x, i) => i % 11 === 3 ? [NaN, Infinity, -Infinity, -0, 0, 3, 3, -40][i % 8]! : x,
  tiny: (x) => x * 2 ** -40,
  huge: (x) => x * 500,
  equal: (x) => Math.round(x),
};

/** Runs a step on the device, its tensors uploaded, and reads back all that it makes. */
function stepJob(
  name: string,
  tensors: () => readonly Tensor[],
  step: (ops: CudaBackend["ops"], ...tensors: BackendTensor[]) => Promise<object>,
): Job {
  return {
    name,
    run: async (library) => {
      const backend = await backendOf(library);
      using scope = new DisposableStack();
      const results = await step(backend.ops, ...tensors().map((tensor) => scope.use(backend.upload(tensor))));
      const made = (Symbol.dispose in results ? [results] : Object.values(results)).filter(Boolean) as BackendTensor[];
      const out: ArrayBufferView[] = [];
      for (const tensor of made) out.push(bytes(await backend.download(scope.use(tensor))));
      return out;
    },
  };
}

const routers: readonly [
  T: number,
  E: number,
  dtype: DType,
  to: DType,
  options: RouterOptions<never>,
][] = [
  [5, 7, "f32", "f32", { kind: "softmax", topK: 3 }],
  [5, 40, "f16", "f16", { kind: "topk-softmax", topK: 32 }],
  [5, 40, "bf16", "bf16", { kind: "softmax-renormalize", topK: 4, scale: 2.5 }],
  [9, 24, "f32", "f32", { kind: "sigmoid-grouped", topK: 4, groups: 8, topGroups: 3 }],
  [9, 6, "f32", "f32", { kind: "sigmoid-grouped", topK: 2, groups: 2, topGroups: 1 }],
  [9, 80, "f16", "f32", { kind: "sigmoid-grouped", topK: 2, groups: 40, topGroups: 33 }],
  [5, 33, "f32", "f16", { kind: "sigmoid", topK: 5 }],
  [5, 33, "f32", "bf16", { kind: "sigmoid-input", topK: 2 }],
  [5, 64, "bf16", "f32", { kind: "sqrt-softplus", topK: 6, renormalize: false }],
  [270, 3, "f32", "f32", { kind: "softmax", topK: 1 }],
  [1, 1, "f32", "f32", { kind: "sigmoid", topK: 1 }],
  [9, 16, "f16", "f32", { kind: "sparse-mixer", topK: 2 }],
  [5, 40, "f32", "bf16", { kind: "sparse-mixer", topK: 3, jitter: 0.25 }], // some lie just as far apart
];

function routeJobs(): Job[] {
  return routers.flatMap(([T, E, dtype, to, options], seed) => {
    const name = `route ${JSON.stringify({ T, E, dtype, to, ...options })}`;
    const biased = routerRules[options.kind!].before !== "none";
    const normals = () => new Generator(seed).randn([T, E]);
    const correction = () => new Generator(seed + 50).randn([E]);
    return [
      ...Object.entries(logitKinds).map(([kind, make]) =>
        stepJob(
          `${name}, ${kind}`,
          () => [convert(tensor(Float32Array.from(normals().data, make), [T, E]), dtype)],
          (ops, x) => ops.route(x!, options, { dtype: to }),
        )
      ),
      ...(biased
        ? [stepJob(
          `${name}, biased`,
          () => [convert(normals(), dtype), correction()],
          (ops, x, bias) => ops.route(x!, { ...options, correctionBias: bias! }, { dtype: to }),
        )]
        : []),
    ];
  });
}

const linears: readonly [
  x: DType,
  w: DType,
  to: DType,
  T: number,
  D: number,
  N: number,
  bias: boolean,
  scale?: number,
][] = [
  ["f16", "f16", "f32", 3, 40, 5, true],
  ["f16", "f16", "f16", 37, 328, 70, false],
  ["bf16", "bf16", "bf16", 70, 24, 130, true],
  ["bf16", "bf16", "f32", 33, 8, 64, false],
  ["f32", "f32", "f32", 37, 40, 70, true],
  ["f32", "f16", "f16", 3, 33, 5, true],
  ["f16", "bf16", "bf16", 33, 7, 33, false],
  ["bf16", "f32", "f32", 70, 16, 3, true],
  ["f32", "f32", "f32", 40, 32, 64, true],
  ["f16", "f16", "f32", 3, 8, 3, false, 0],
];

function linearJobs(): Job[] {
  return linears.map(([x, w, to, T, D, N, biased, scale = 1]) =>
    stepJob(
      `linear ${JSON.stringify({ x, w, to, T, D, N, biased })}`,
      () => {
        const random = new Generator(T);
        return [[x, [T, D]], [w, [N, D]], [w, [N]]].map(([dtype, shape]) =>
          convert(
            tensor(random.randn(shape as number[]).data.map((x) => x * scale) as Float32Array, shape as number[]),
            dtype as DType,
          )
        );
      },
      (ops, x, w, bias) => ops.linear(x!, w!, { dtype: to, bias: biased ? bias : undefined }),
    )
  );
}

const i32 = (values: Iterable<number>) => tensor(Int32Array.from(values));

function opJobs(): Job[] {
  const random = (dtype: DType, ...shape: number[]) => convert(new Generator(shape[0]!).randn(shape), dtype);
  /** Where each of N assignments goes, one that is no assignment among them; what is in each of E bins. */
  const sorted = (N: number, E: number) => {
    const experts = Array.from({ length: N }, (_, i) => (i * i + 3) % 7 % E);
    const order = [...experts.keys()].sort((a, b) => experts[a]! - experts[b]! || a - b);
    const ends = Array.from({ length: E }, (_, e) => experts.filter((expert) => expert <= e).length);
    return { order, ends };
  };
  const jobs: Job[] = [
    stepJob("full i32", () => [], (ops) => ops.full("i32", [3, 5], -7)),
    stepJob("full f16", () => [], (ops) => ops.full("f16", [9000], 1.5)),
    stepJob("full bf16", () => [], (ops) => ops.full("bf16", [3], 2)),
    stepJob("sort", () => [i32([3, 0, 2, 2, 1, 0, 3, 3, 3])], (ops, x) => ops.sort(x!, 5)),
    stepJob(
      "sort of many",
      () => [i32(Array.from({ length: 9000 }, (_, i) => i * i % 41))],
      (ops, x) => ops.sort(x!, 41),
    ),
    stepJob("bincountCumsum", () => [i32([3, 0, 2, 2, 1, 0, 3, 3, 3])], (ops, x) => ops.bincountCumsum(x!, 300)),
    stepJob("bincountCumsum of nothing", () => [i32([])], (ops, x) => ops.bincountCumsum(x!, 3)),
    stepJob(
      "batchedMatmul of many",
      () => [random("f16", 300, 1, 8), random("f16", 300, 8, 8)],
      (ops, a, b) => ops.batchedMatmul(a!, b!),
    ),
  ];
  for (const dtype of floats) {
    jobs.push(
      stepJob(
        `batchedMatmul ${dtype}`,
        () => [random(dtype, 3, 20, 40), random(dtype, 3, 40, 72)],
        (ops, a, b) => ops.batchedMatmul(a!, b!),
      ),
      stepJob(`combine ${dtype}`, () => {
        const { order, ends } = sorted(9, 3);
        return [random(dtype, 3, 4, 264), i32(order), i32(ends), random(dtype, 3, 3)];
      }, (ops, x, order, ends, weights) => ops.scatter(x!, order!, ends!, weights!)),
    );
  }
  const rows: [string, DType, number[]][] = [
    ["16 bytes", "f16", [5, 520]],
    ["4 bytes", "f32", [5, 37]],
    ["2 bytes", "bf16", [5, 37]],
  ];
  for (const [unit, dtype, shape] of rows) {
    jobs.push(
      stepJob(
        `indexSelect of ${unit}`,
        () => [random(dtype, ...shape), i32([4, 0, -1, 5, 2, 2])],
        (ops, x, at) => ops.indexSelect(x!, at!),
      ),
    );
  }
  jobs.push(
    stepJob(
      "indexSelect of many",
      () => [random("f32", 7, 3), i32(Array.from({ length: 300 }, (_, i) => i % 7))],
      (ops, x, at) => ops.indexSelect(x!, at!),
    ),
    stepJob("gather", () => {
      const { order, ends } = sorted(24, 5);
      return [random("f16", 8, 24), i32(order), i32(ends)];
    }, (ops, x, order, ends) => ops.gather(x!, order!, ends!, { topK: 3, capacity: 6 })),
    stepJob("gather of many", () => {
      const { order, ends } = sorted(300, 7);
      return [random("f16", 300, 8), i32(order), i32(ends)];
    }, (ops, x, order, ends) => ops.gather(x!, order!, ends!, { capacity: 1300 })),
    ...[[24, 7], [20, 5], [5, 1]].map(([n, E]) =>
      launchJob("bin_rows", n!, (n, rows, upload) => {
        const { order, ends } = sorted(n, E!);
        const wrong = order.with(3, n).with(4, -1); // no assignments: nothing is written for them
        return { order: upload(wrong), ends: upload(ends.with(-1, n - 1)), rows, n, bins: E!, capacity: 3 };
      })
    ),
    launchJob("copy_words", 600, (n, out, upload) => {
      return { source: upload(Array.from({ length: n }, (_, i) => i * i)), out, n };
    }),
    stepJob("scatter of many", () => {
      const { order, ends } = sorted(8400, 6);
      return [random("f16", 6, 1500, 8), i32(order), i32(ends), random("f16", 2800, 3)];
    }, (ops, x, order, ends, weights) => ops.scatter(x!, order!, ends!, weights!)),
  );
  return jobs;
}

/** Launches a kernel in one block, which may go over its items many times, and reads back the array it writes. */
function launchJob(
  kernel: string,
  words: number,
  args: (words: number, out: bigint, upload: (values: readonly number[]) => bigint) => KernelLaunch["arguments"],
): Job {
  return {
    name: `${kernel} of ${words}`,
    run: async (library) => {
      using device = await TestDevice.ofProduct(library);
      const out = device.allocate(words * 4);
      out.write(new Int32Array(words).fill(-7));
      const upload = (values: readonly number[]) => device.upload(Int32Array.from(values));
      device.launch(kernel, 256, args(words, out.pointer, upload));
      return [device.download(out)];
    },
  };
}

/** A whole layer. */
const layerJob: Job = {
  name: "moe",
  run: async (library) => {
    const half = (...shape: number[]) => convert(new Generator(shape[0]!).randn(shape), "f16");
    const output = await moe(half(11, 16), {
      router: { weight: half(6, 16), bias: half(6), options: { kind: "sigmoid-input", topK: 2 } },
      ...{ gateUpProj: half(6, 16, 16), downProj: half(6, 8, 16) },
      sharedExpert: { gateUpProj: half(1, 16, 16), downProj: half(1, 8, 16), gate: half(1, 16) },
    }, { expertCapacity: 3, backend: await backendOf(library) });
    return [bytes(output)];
  },
};

/** All jobs on sm_80. */
export const jobs: readonly Job[] = [
  ...products.map(productJob),
  ...routeJobs(),
  ...linearJobs(),
  ...opJobs(),
  layerJob,
  ...[[5000, 7, 500], [2100, 40, 30]].map(([count, experts, capacity]): Job => ({
    name: `sort ${count} ${experts}`,
    run: async (library) => Object.values(await sortOnDevice(library, sortJob(count!, experts!, capacity!))),
  })),
];

/** Where there are no biases, nothing may be added: of zeros, even the smallest number shows. */
const zerosJob: Job = {
  name: "experts of zeros, no biases",
  run: async (library) => {
    const inputs = randomInputs({ T: 20, H: 40, I: 72, E: 2, K: 1 }, 0, { bias: false });
    const hiddenStates = tensor(new Float16Array(20 * 40), [20, 40]);
    return [bytes(await experts({ ...inputs, hiddenStates }, { backend: await backendOf(library, 128) }))];
  },
};

/** Warps that are far apart: one may still multiply what the ring's next round overwrites, if not all are waited for. */
const apartJobs = wgmmaProducts.slice(-1).flatMap((product) =>
  [7, 50, 400].map((preempt): Job => {
    const { name, run } = productJob(product, 0);
    return { name: `${name}, interrupted after ${preempt}`, run, preempt };
  })
);

/** What Hopper does in its own way. */
export const hopperJobs: readonly Job[] = [...wgmmaProducts.map(productJob), zerosJob, ...apartJobs];
