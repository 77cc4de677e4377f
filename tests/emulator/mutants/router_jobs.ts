// Jobs of the router's two kernels: the product that gives the logits, and the choice of experts.
import { type RouterOptions, routerRules } from "../../../src/routing/router.ts";
import { convert, type DType, tensor } from "../../../src/tensor/tensor.ts";
import { Generator } from "../../../src/torch/generator.ts";
import { type Job, stepJob } from "./job.ts";

/** Kinds of logits, among them ties, special values and extreme magnitudes. */
const logitKinds: Readonly<Record<string, (x: number, i: number) => number>> = {
  normal: (x) => x,
  special: (x, i) => i % 11 === 3 ? [NaN, Infinity, -Infinity, -0, 0, 3, 3, -40][i % 8]! : x,
  tiny: (x) => x * 2 ** -40,
  huge: (x) => x * 500,
  equal: (x) => Math.round(x),
};

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
  [9, 24, "f32", "f32", { kind: "softmax-grouped", topK: 4, groups: 8, topGroups: 3 }],
  [9, 80, "f16", "f32", { kind: "sigmoid-grouped", topK: 2, groups: 40, topGroups: 33 }],
  [5, 33, "f32", "f16", { kind: "sigmoid", topK: 5 }],
  [5, 33, "f32", "bf16", { kind: "sigmoid-input", topK: 2 }],
  [5, 64, "bf16", "f32", { kind: "sqrt-softplus", topK: 6, renormalize: false }],
  [270, 3, "f32", "f32", { kind: "softmax", topK: 1 }],
  [1, 1, "f32", "f32", { kind: "sigmoid", topK: 1 }],
  [9, 16, "f16", "f32", { kind: "sparse-mixer", topK: 2 }],
  [5, 40, "f32", "bf16", { kind: "sparse-mixer", topK: 3, jitter: 0.25 }], // with ties at the threshold
];

export function routeJobs(): Job[] {
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

export function linearJobs(): Job[] {
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
