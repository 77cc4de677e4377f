// Runs one emulator through jobs that reach every branch of the kernels, and prints a digest of all results, or what a checker
// found. A process of its own: a mutant may never end.
import {
  type BackendTensor,
  convert,
  experts,
  type ExpertsOptions,
  Generator,
  moe,
  ops,
  type RouterKind,
  type Tensor,
  tensor,
} from "../../mod.ts";
import { type CudaBackend, openCudaBackend } from "../../src/cuda/backend.ts";
import { tensorTiles } from "../../src/cuda/tiles.ts";
import { routerRules } from "../../src/router.ts";
import { randomInputs, type RandomInputsOptions, type RandomShape } from "../backend_suite.ts";
import { sortJob, sortOnDevice } from "../cuda/sort.ts";
import { Control } from "./control.ts";

/** Jobs: each tile shape, ragged in every direction, few and many experts, every dtype, layout and activation. */
const jobs: [RandomShape, ExpertsOptions?, RandomInputsOptions?][] = [
  [{ T: 1, H: 8, I: 8, E: 1, K: 1 }],
  [{ T: 40, H: 200, I: 136, E: 3, K: 2 }, { expertCapacity: 11 }],
  [{ T: 90, H: 40, I: 72, E: 2, K: 2 }, {}, { bias: false }],
  [{ T: 180, H: 104, I: 136, E: 2, K: 2 }, { expertCapacity: 150 }, { dense: true }],
  [{ T: 620, H: 72, I: 264, E: 2, K: 2 }, { expertCapacity: 530 }, { spread: 0.7 }],
  [{ T: 70, H: 16, I: 16, E: 33, K: 3 }, { expertCapacity: 9 }],
  [{ T: 5, H: 16, I: 8, E: 1024, K: 1 }],
  [{ T: 2500, H: 8, I: 8, E: 5, K: 2 }, { expertCapacity: 900 }, { spread: 0.6 }],
  [{ T: 4300, H: 8, I: 8, E: 1, K: 1 }],
  [{ T: 40, H: 104, I: 136, E: 3, K: 2 }, { gateUpLayout: "concatenated", activation: "gelu" }],
  [{ T: 90, H: 104, I: 72, E: 1, K: 1 }, { activation: "relu2", gated: false }],
  [{ T: 40, H: 200, I: 136, E: 3, K: 2 }, { weightLayout: "out-in", gateUpLayout: "concatenated" }, { dtype: "bf16" }],
  [{ T: 300, H: 72, I: 136, E: 2, K: 2 }, { weightLayout: "out-in", activation: "gelu-tanh" }],
  [{ T: 100, H: 37, I: 45, E: 2, K: 1 }, { weightLayout: "out-in", gateUpLayout: "concatenated" }, { dtype: "bf16" }],
  [{ T: 330, H: 69, I: 77, E: 2, K: 1 }, { activation: "silu", gated: false }, { dtype: "f32" }],
  [{ T: 20, H: 130, I: 33, E: 2, K: 1 }, { activation: "gelu" }],
  [{ T: 40, H: 264, I: 16, E: 3, K: 2 }, { expertCapacity: 11 }, { extra: "addend with weights" }],
  [{ T: 40, H: 37, I: 16, E: 3, K: 2 }, {}, { extra: "addend", dtype: "bf16" }],
  [{ T: 20, H: 40, I: 16, E: 3, K: 2 }, {}, { extra: "f32 weights", dense: true }],
  [{ T: 20, H: 264, I: 16, E: 3, K: 3 }, {}, { extra: "input weights" }],
  [{ T: 20, H: 37, I: 16, E: 3, K: 1 }, {}, { extra: "input weights", dtype: "bf16" }],
];

/** Routers of every kind: what they decide on logits of each dtype, between equals and NaN too. */
async function routings(backend: CudaBackend): Promise<Uint8Array<ArrayBuffer>[]> {
  const found: Uint8Array<ArrayBuffer>[] = [];
  for (const [i, kind] of (Object.keys(routerRules) as RouterKind[]).entries()) {
    const { before, grouped } = routerRules[kind];
    for (const [tokens, experts, topK, groups, topGroups] of [[9, 72, 5, 8, 3], [70, 12, 3, 4, 2]] as const) {
      const random = new Generator(i);
      const logits = random.randn([tokens, experts]);
      logits.data.set([1, 1, NaN, 1, 1, Infinity], experts + 3);
      logits.data.set([40, 60, 50], 2 * experts + 3); // whose scores are all the same
      const dtype = (["f32", "f16", "bf16"] as const)[i % 3]!;
      using scope = new DisposableStack();
      const up = (tensor: Tensor) => scope.use(backend.upload(tensor));
      const routing = await backend.ops.route(up(convert(logits, dtype)), {
        ...{ kind, topK, scale: 1.5 },
        ...before !== "none" && { correctionBias: up(random.randn([experts])) },
        ...grouped && { groups, topGroups },
      }, { dtype });
      for (const result of Object.values(routing) as (BackendTensor | undefined)[]) {
        if (result) found.push(bytesOf(await backend.download(scope.use(result))));
      }
    }
  }
  return found;
}

/** Whole layers, and the steps that `experts` does not take. */
async function layers(backend: CudaBackend): Promise<Uint8Array<ArrayBuffer>[]> {
  const found: Uint8Array<ArrayBuffer>[] = [];
  for (const [T, H, I, dtype] of [[37, 72, 16, "f16"], [33, 45, 11, "bf16"]] as const) {
    const random = new Generator(T);
    const normal = (...shape: number[]) => convert(random.randn(shape), dtype);
    const layer = {
      router: { weight: normal(70, H), bias: normal(70), options: { kind: "topk-softmax", topK: 3 } },
      ...{ gateUpProj: normal(70, H, 2 * I), downProj: normal(70, I, H) },
      sharedExpert: { gateUpProj: normal(1, H, 2 * I), downProj: normal(1, I, H), gate: normal(1, H) },
    } as const;
    found.push(bytesOf(await moe(normal(T, H), layer, { backend })));

    const { values, indices } = await ops.sort(tensor(Int32Array.from({ length: T * 2 }, (_, i) => i * i % 5)), 5, {
      backend,
    });
    const { cumsum } = await ops.bincountCumsum(values, 5, { backend });
    const bins = await ops.gather(normal(T, H), indices, cumsum, { topK: 2, capacity: 9, backend });
    const product = await ops.batchedMatmul(bins, normal(5, H, I), { backend });
    const sums = await ops.scatter(product, indices, cumsum, normal(T, 2), { backend });
    found.push(...[values, indices, cumsum, bins, product, sums].map(bytesOf));
    found.push(bytesOf(await ops.indexSelect(sums, tensor(new Int32Array([3, 0, 3])), { backend })));
  }
  return found;
}

function bytesOf({ data }: Tensor): Uint8Array<ArrayBuffer> {
  return new Uint8Array(data.buffer as unknown as ArrayBuffer, data.byteOffset, data.byteLength).slice();
}

const [library] = Deno.args;
const control = new Control(library!);
const results: Uint8Array<ArrayBuffer>[] = [];
try {
  for (const [i, [shape, options, kind]] of jobs.entries()) {
    // The largest tiles that the rows mostly fill.
    const { shapes } = tensorTiles;
    const { rows: tileRows } = shapes.find(({ rows }) => shape.T * shape.K / shape.E > rows * 0.75) ?? shapes.at(-1)!;
    using backend = await openCudaBackend({ library, tileRows });
    control.schedule(i % 2); // every other job with its threads in another order
    results.push(bytesOf(await experts(randomInputs(shape, i, { ...kind, ...options }), { ...options, backend })));
  }
  for (const [i, steps] of [routings, layers].entries()) {
    using backend = await openCudaBackend({ library });
    control.schedule(i);
    results.push(...await steps(backend));
  }
  for (const [i, job] of [sortJob(17000, 7, 1000), sortJob(4100, 40, 30)].entries()) {
    control.schedule(i);
    for (const list of Object.values(await sortOnDevice(library!, job))) results.push(new Uint8Array(list.buffer));
  }
  const kernels = ["f16_in_out", "f16_out_in", "bf16_out_in"].flatMap((variant) =>
    tensorTiles.shapes.flatMap(({ rows }) => [`gated_${rows}_${variant}`, `plain_${rows}_${variant}`])
  );
  for (const kernel of kernels) {
    const { bankConflicts, copyConflicts } = control.counters(kernel);
    if (bankConflicts + copyConflicts > 0) throw new Error(`bank conflicts in ${kernel}`);
  }
  const bytes = new Uint8Array(await new Blob(results).arrayBuffer());
  console.log(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex());
} catch (error) {
  console.log(`caught: ${control.report || (error instanceof Error ? error.message : error)}`);
}
