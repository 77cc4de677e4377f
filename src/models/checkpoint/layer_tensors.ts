// Which tensors of a checkpoint a layer consists of, and which element of the layer's own tensors each begins at.
import { gateUpColumns, weightShapes } from "../../contract/experts_sizes.ts";
import type { ExpertsComputation } from "../../contract/experts.ts";
import type { ExpertsLayer, MoeLayer, SharedExpert } from "../../contract/moe.ts";
import { routerRules } from "../../routing/router.ts";
import { quote } from "../../text.ts";
import { type DType, formatShape } from "../../tensor/tensor.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { type LayerNames, namesOfLayer } from "./layer_names.ts";
import type { ResolvedSettings } from "./settings.ts";
import { type PlannedTensor, TensorPlanner } from "./tensor_planner.ts";

type Settings = Readonly<ExpertsComputation>;

/**
 * Plans the tensors of a layer.
 *
 * @param checkpoint The checkpoint.
 * @param names The names of the layer's tensors.
 * @param settings How the layer computes.
 * @returns The layer with planned tensors, and the dtype that holds the experts' tensors without loss.
 * @throws {SafetensorsError} If a tensor is missing, has another dtype or shape, or is not supported.
 */
export async function planTensors(
  checkpoint: Checkpoint,
  names: LayerNames,
  { experts: settings, router, logitsDType, weightBlock }: ResolvedSettings,
): Promise<{ readonly layer: MoeLayer<PlannedTensor>; readonly dtype: DType }> {
  const planner = new TensorPlanner(checkpoint, weightBlock);
  const weight = await planner.own(names.router, ["E", "H"]);
  const [experts, hidden] = weight.shape as [number, number];
  const bias = names.routerBias && await planner.own(names.routerBias, [experts]);
  const correctionBias = names.correctionBias !== undefined && routerRules[router.kind].before !== "none"
    ? await planner.own(names.correctionBias, [experts])
    : undefined;
  const routerDType = bias && bias.dtype !== weight.dtype ? "f32" : weight.dtype;

  const routed = names.packing === "each"
    ? await planLinear(planner, (e) => `${names.experts}${e}.`, experts, hidden, settings)
    : await planFused(planner, names, experts, hidden, settings);
  const sharedExpert = names.sharedExpert &&
    await planShared(planner, names.sharedExpert, names.sharedGate, hidden, settings);
  planner.expectUsed(namesOfLayer(checkpoint, names).filter((name) => name !== names.correctionBias));
  return {
    dtype: planner.expertsDType,
    layer: {
      ...routed,
      router: {
        weight: { ...weight, dtype: routerDType },
        bias: bias ? { ...bias, dtype: routerDType } : undefined,
        options: { ...router, correctionBias: correctionBias ? { ...correctionBias, dtype: "f32" } : undefined },
        logitsDType,
      },
      ...sharedExpert && { sharedExpert },
    },
  };
}

/** Plans experts with a linear layer each for gate, up and down. The names of expert `e` begin with `prefix(e)`. */
async function planLinear(
  planner: TensorPlanner,
  prefix: (expert: number) => string,
  experts: number,
  hidden: number,
  settings: Settings,
): Promise<ExpertsLayer<PlannedTensor>> {
  if (settings.weightLayout === "in-out") throw layoutError("weight layout", "out-in");
  const { gated = true } = settings;
  if (gated && settings.gateUpLayout === "interleaved") throw layoutError("gate-up layout", "concatenated");
  const surplus = prefix(experts);
  const [gate, up, down] = planner.has(`${prefix(0)}down_proj.weight`)
    ? ["gate_proj", "up_proj", "down_proj"] as const
    : ["w1", "w3", "w2"] as const;
  if (experts > 1 && planner.has(`${surplus}${down}.weight`)) {
    throw planner.error(
      `${surplus}${down}.weight`,
      `belongs to an expert that the router, with ${experts} rows, does not have`,
    );
  }
  const first = await planner.part(`${prefix(0)}${down}.weight`, [hidden, "I"]);
  const intermediate = first.shape[1]!;
  const upNames = gated ? [gate, up] : [planner.has(`${prefix(0)}${up}.weight`) ? up : gate];
  const gateUps = await planner.stack(experts, (e) => upNames.map((name) => `${prefix(e)}${name}.weight`), [
    intermediate,
    hidden,
  ]);
  const downs = await planner.stack(experts, (e) => [`${prefix(e)}${down}.weight`], [hidden, intermediate]);
  const biases = planner.has(`${prefix(0)}${down}.bias`) && {
    gateUpProjBias: await planner.stack(experts, (e) => upNames.map((name) => `${prefix(e)}${name}.bias`), [
      intermediate,
    ]),
    downProjBias: await planner.stack(experts, (e) => [`${prefix(e)}${down}.bias`], [hidden]),
  };
  return {
    ...settings,
    gateUpLayout: "concatenated",
    weightLayout: "out-in",
    gateUpProj: { ...gateUps, shape: [experts, upNames.length * intermediate, hidden] },
    downProj: { ...downs, shape: [experts, hidden, intermediate] },
    ...biases && {
      gateUpProjBias: { ...biases.gateUpProjBias, shape: [experts, upNames.length * intermediate] },
      downProjBias: { ...biases.downProjBias, shape: [experts, hidden] },
    },
  };
}

/** Plans experts with one tensor for all of them. */
async function planFused(
  planner: TensorPlanner,
  { packing, experts: prefix }: LayerNames,
  experts: number,
  hidden: number,
  settings: Settings,
): Promise<ExpertsLayer<PlannedTensor>> {
  const { gated = true } = settings;
  const ungatedName = planner.has(`${prefix}up_proj`) ? "up_proj" : "gate_up_proj";
  const [gateUp, down] = packing === "granite"
    ? ["input_linear.weight", "output_linear.weight"] as const
    : [gated ? "gate_up_proj" : ungatedName, "down_proj"] as const;
  const downProj = await planner.fused(prefix + down, [experts, "out or in", "in or out"]);
  const gateUpProj = await planner.fused(prefix + gateUp, [experts, "out or in", "in or out"]);
  const layouts = planner.hasBlocks(prefix + down) || packing === "granite"
    ? ["out-in"] as const
    : ["in-out", "out-in"] as const;
  const asked = settings.weightLayout;
  if (asked && !layouts.some((layout) => layout === asked)) throw layoutError("weight layout", layouts[0]);

  const fitting = layouts.map((weightLayout) => {
    const intermediate = downProj.shape[weightLayout === "out-in" ? 2 : 1]!;
    const sizes = { experts, hidden, intermediate, gated, weightLayout };
    return { ...sizes, shapes: weightShapes(sizes) };
  }).filter(({ weightLayout, shapes }) =>
    (asked ?? weightLayout) === weightLayout && sameShape(shapes.downProj, downProj.shape) &&
    sameShape(shapes.gateUpProj, gateUpProj.shape)
  );
  const [found] = fitting;
  if (!found) {
    throw planner.error(
      prefix + gateUp,
      `and ${quote(prefix + down)} must fit ${experts} experts of hidden size ${hidden}${gated ? " with a gate" : ""}` +
        `${asked ? `, ${asked}` : ""}, got ${formatShape(gateUpProj.shape)} and ${formatShape(downProj.shape)}`,
    );
  }
  if (fitting.length > 1) {
    throw planner.error(
      prefix + gateUp,
      `and ${quote(prefix + down)} fit both weight layouts: --weight-layout is needed, in-out or out-in`,
    );
  }
  const columns = gateUpColumns(found);
  const bias = async (name: string, width: number) =>
    planner.has(`${name}_bias`) ? await planner.whole(`${name}_bias`, [experts, width]) : undefined;
  return {
    ...settings,
    weightLayout: found.weightLayout,
    gateUpProj,
    downProj,
    gateUpProjBias: await bias(prefix + gateUp, columns),
    downProjBias: await bias(prefix + down, hidden),
  };
}

/** Plans the shared expert. */
async function planShared(
  planner: TensorPlanner,
  prefix: string,
  gate: string | undefined,
  hidden: number,
  settings: Settings,
): Promise<SharedExpert<PlannedTensor>> {
  const { weightLayout: _weightLayout, gateUpLayout: _gateUpLayout, ...activation } = settings;
  const expert = planner.has(`${prefix}output_linear.weight`)
    ? await planSharedGranite(planner, prefix, hidden, activation)
    : planner.has(`${prefix}down_proj`)
    ? await planFused(planner, { packing: "fused", experts: prefix } as LayerNames, 1, hidden, settings)
    : await planLinear(planner, () => prefix, 1, hidden, activation);
  return gate ? { ...expert, gate: await planner.whole(gate, [1, hidden]) } : expert;
}

/** Plans Granite's shared expert, which has gate and up in one linear layer. */
async function planSharedGranite(
  planner: TensorPlanner,
  prefix: string,
  hidden: number,
  activation: Settings,
): Promise<ExpertsLayer<PlannedTensor>> {
  const downProj = await planner.whole(`${prefix}output_linear.weight`, [hidden, "I"]);
  const intermediate = downProj.shape[1]!;
  const columns = gateUpColumns({ gated: activation.gated ?? true, intermediate });
  const gateUpProj = await planner.whole(`${prefix}input_linear.weight`, [columns, hidden]);
  return {
    ...activation,
    gateUpLayout: "concatenated",
    weightLayout: "out-in",
    gateUpProj: { ...gateUpProj, shape: [1, columns, hidden] },
    downProj: { ...downProj, shape: [1, hidden, intermediate] },
  };
}

function layoutError(what: string, only: string): RangeError {
  return new RangeError(`The ${what} must be ${only} for weights that are stored in such tensors`);
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, i) => size === b[i]);
}
