// Checks every option of `experts` on small random jobs, every token against float64.
import type { Backend } from "../backend/backend.ts";
import type { Activation, DenseInputs, ExpertsOptions } from "../contract/experts.ts";
import { experts } from "../ops/experts.ts";
import { activationOptions, activationRules, activations } from "../contract/activations.ts";
import { mapInputs } from "../contract/experts_inputs.ts";
import { gateUpColumns, weightShapes } from "../contract/experts_sizes.ts";
import { resolveExperts } from "../contract/resolve_experts.ts";
import { convert, type DType, type Tensor, tensor } from "../tensor/tensor.ts";
import { Generator } from "../torch/generator.ts";
import { boundedCheck, type Check, errorBounds, RelativeError } from "./check.ts";
import { keptMask, referenceRow } from "./reference.ts";

/** The dtypes that are checked. */
export const checkedDTypes = ["f16", "bf16", "f32"] as const satisfies DType[];

/** The sizes of a random job, and which of its inputs differ from the default. */
interface Variant extends Omit<ExpertsOptions, "onProgress"> {
  readonly tokens?: number;
  readonly hidden?: number;
  readonly intermediate?: number;
  readonly topK?: number;
  /** Whether the routing weights are dense, [T, E]. */
  readonly dense?: boolean;
  /** Whether the routing weights are f32 and the call has an addend. */
  readonly addend?: boolean;
}

const layouts = (["interleaved", "concatenated"] as const).flatMap((gateUpLayout) =>
  (["in-out", "out-in"] as const).map((weightLayout) => ({ gateUpLayout, weightLayout }))
);

/** Returns the variants of an activation: all layouts, its options, and without a gate. */
function activationVariants(activation: Activation): Variant[] {
  const gated = layouts.map((layout) => ({ activation, ...layout }));
  const options = activationOptions({ activation, activationAlpha: 1, activationLimit: 1 });
  const ungated = layouts.slice(0, 2).map((layout) => ({ activation, gated: false, ...layout }));
  return [
    ...gated,
    ...Object.keys(options).length > 0 ? [{ activation, ...options }] : [],
    ...activationRules[activation].ungated ? ungated : [],
  ];
}

const groups: Readonly<Record<string, readonly Variant[]>> = {
  ...Object.fromEntries(activations.map((activation) => [activation, activationVariants(activation)])),
  "few rows": [1, 7, 16].flatMap((tokens) => layouts.map((layout) => ({ tokens, hidden: 320, ...layout }))),
  "unaligned sizes": layouts.map((layout) => ({ hidden: 75, intermediate: 61, ...layout })),
  "capacity, dense weights": [{ expertCapacity: 11 }, { dense: true }, { expertCapacity: 5, dense: true }],
  "addend, batch-invariant": [{ addend: true }, { batchInvariant: true, topK: 1, addend: true }],
};

/** Runs the checks: one check for each dtype and group of variants. */
export async function* variantChecks(backend: Backend): AsyncGenerator<Check> {
  for (const dtype of checkedDTypes) {
    for (const [name, variants] of Object.entries(groups)) {
      const error = new RelativeError();
      for (const [i, variant] of variants.entries()) {
        const { tokens: _tokens, hidden: _hidden, intermediate: _intermediate, topK: _topK, ...rest } = variant;
        const { dense: _dense, addend: _addend, ...options } = rest;
        const inputs = variantInputs(variant, dtype, i + 1);
        const output = await experts(inputs, { ...options, backend });
        error.add(output, referenceOutput(inputs, options));
      }
      yield boundedCheck(`${dtype} ${name}`, error.value, errorBounds[dtype]);
    }
  }
}

/** Computes the output of every token in float64. */
export function referenceOutput(inputs: DenseInputs, options: ExpertsOptions): Float64Array {
  const shape = resolveExperts(inputs, options);
  const kept = keptMask(inputs.routerIndices.data, shape);
  const wide = mapInputs(inputs, (input) => input.dtype === "bf16" ? convert(input, "f32") : input);
  const output = new Float64Array(shape.tokens * shape.hidden);
  for (let t = 0; t < shape.tokens; t++) output.set(referenceRow(wide, shape, kept, t), t * shape.hidden);
  return output;
}

/** Returns a function that draws normally distributed tensors of a dtype. */
export function normals(random: Generator, dtype: DType): (shape: readonly number[], scale: number) => Tensor {
  return (shape, scale) =>
    convert(tensor(random.randn(shape).data.map((x) => x * scale) as Float32Array, shape), dtype);
}

function variantInputs(
  { tokens = 96, hidden = 96, intermediate = 64, topK = 3, dense, addend, ...options }: Variant,
  dtype: DType,
  seed: number,
): DenseInputs {
  const random = new Generator(seed), normal = normals(random, dtype);
  const count = 5;
  const { gated = true, weightLayout = "in-out" } = options;
  const sizes = { experts: count, hidden, intermediate, gated, weightLayout };
  const { gateUpProj, downProj } = weightShapes(sizes);
  const indices = Int32Array.from(random.rand([tokens, topK]).data, (u) => Math.min(count - 1, Math.floor(u * count)));
  const routingWeights = random.rand([tokens, dense ? count : topK]);
  return {
    hiddenStates: normal([tokens, hidden], 1),
    routerIndices: tensor(indices, [tokens, topK]),
    routingWeights: addend ? routingWeights : convert(routingWeights, dtype),
    gateUpProj: normal(gateUpProj, 1.5 / Math.sqrt(hidden)),
    gateUpProjBias: normal([count, gateUpColumns(sizes)], 0.5),
    downProj: normal(downProj, 1 / Math.sqrt(intermediate)),
    downProjBias: normal([count, hidden], 0.5),
    addend: addend ? normal([tokens, hidden], 1) : undefined,
    addendWeights: addend ? random.randn([tokens, 1]) : undefined,
  };
}
