// Checks that packed weights give the bits of decoded weights.
import type { Backend } from "../backend/backend.ts";
import type { ExpertsOptions } from "../contract/experts.ts";
import { experts } from "../ops/experts.ts";
import { decode } from "../tensor/decode.ts";
import { type PackedFormat, packedKinds } from "../tensor/packed_tensor.ts";
import { type DType, type Tensor, tensor } from "../tensor/tensor.ts";
import { Generator } from "../torch/generator.ts";
import { drawPacked, packedFormats } from "../workload/drawn_weights.ts";
import type { Check } from "./check.ts";
import { checkedDTypes, normals } from "./variants.ts";

/** The jobs: few tokens and many, both orders of gate and up, and sizes that no tile divides. */
const jobs = [
  { tokens: 1, hidden: 128, intermediate: 96, gateUpLayout: "interleaved", expertCapacity: undefined },
  { tokens: 19, hidden: 160, intermediate: 224, gateUpLayout: "concatenated", expertCapacity: undefined },
  { tokens: 300, hidden: 192, intermediate: 96, gateUpLayout: "interleaved", expertCapacity: 90 },
] as const;

/** Runs the checks: one check for each dtype and format that the backend's kernels read. */
export async function* packedChecks(backend: Backend): AsyncGenerator<Check> {
  for (const dtype of checkedDTypes) {
    for (const weights of packedKinds) {
      if (!backend.supports(packedFormats(weights, false).gateUpProj)) continue;
      let different = 0;
      for (const [i, job] of jobs.entries()) different += await differences(backend, weights, dtype, job, i + 1);
      yield {
        name: `${dtype} ${weights} weights have the bits of decoded ones`,
        ...{ error: different, bound: 0, passed: different === 0 },
      };
    }
  }
}

/** Counts the elements of the output that differ. */
async function differences(
  backend: Backend,
  weights: PackedFormat["kind"],
  dtype: DType,
  { tokens, hidden, intermediate, gateUpLayout, expertCapacity }: typeof jobs[number],
  seed: number,
): Promise<number> {
  const random = new Generator(seed), normal = normals(random, dtype);
  const [count, topK] = [5, 3];
  const formats = packedFormats(weights, gateUpLayout === "concatenated");
  const gateUpProj = await drawPacked(formats.gateUpProj, [count, 2 * intermediate, hidden], 2 * seed);
  const downProj = await drawPacked(formats.downProj, [count, hidden, intermediate], 2 * seed + 1);
  const inputs = {
    hiddenStates: normal([tokens, hidden], 1),
    routerIndices: tensor(
      Int32Array.from(random.rand([tokens, topK]).data, (u) => Math.min(count - 1, Math.floor(u * count))),
      [tokens, topK],
    ),
    routingWeights: random.rand([tokens, topK]),
    gateUpProjBias: normal([count, 2 * intermediate], 0.5),
    downProjBias: normal([count, hidden], 0.5),
  };
  const options: ExpertsOptions & { readonly backend: Backend } = {
    ...{ backend, weightLayout: "out-in", gateUpLayout, expertCapacity },
  };
  const packed = await experts({ ...inputs, gateUpProj, downProj }, options);
  const decoded = await experts({
    ...inputs,
    gateUpProj: decode(gateUpProj, dtype),
    downProj: decode(downProj, dtype),
  }, options);
  return differentElements(packed, decoded);
}

function differentElements({ data }: Tensor, expected: Tensor): number {
  return Array.from(data).filter((value, i) => !Object.is(value, expected.data[i])).length;
}
