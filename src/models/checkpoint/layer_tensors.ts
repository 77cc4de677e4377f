// Plans a layer: which weights of the checkpoint it consists of, and where each of them goes. Reads no weight.
import { gateUpColumns, weightShapes } from "../../contract/experts_sizes.ts";
import type { ExpertsComputation } from "../../contract/experts.ts";
import type { ExpertsLayer, MoeLayer, SharedExpert } from "../../contract/moe.ts";
import type { Packing } from "../families/packings.ts";
import { routerRules } from "../../routing/router.ts";
import { quote } from "../../text.ts";
import type { DType } from "../../tensor/tensor.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { type LayerNames, linearName, namesOfLayer } from "./layer_names.ts";
import { type PlannedWeight, planWeight } from "./packed_plan.ts";
import type { ResolvedSettings } from "./settings.ts";
import { type PlannedTensor, TensorPlanner } from "./tensor_planner.ts";

export type { PlannedWeight } from "./packed_plan.ts";
export type { PlannedTensor } from "./tensor_planner.ts";

type Settings = Readonly<ExpertsComputation>;

/** A group of experts to plan: the routed ones, or the one of every token. */
interface Group {
  readonly base: string;
  readonly packing: Packing;
  readonly experts: number;
  readonly hidden: number;
  readonly settings: Settings;
}

/** The norms before the router and before the experts, and the scale of each expert. */
export interface PlannedNorms {
  readonly router: PlannedTensor;
  readonly experts: PlannedTensor;
  readonly expertScale: PlannedTensor;
  readonly epsilon: number;
}

/**
 * Plans a layer.
 *
 * @param checkpoint The checkpoint.
 * @param names The names of the layer's tensors.
 * @param settings How the layer computes.
 * @returns The planned tensors, the dtype that holds the experts' weights, and the formats in use.
 * @throws {SafetensorsError} If a tensor is missing, has another dtype or shape, or belongs to the layer and is not used.
 */
export async function planTensors(
  checkpoint: Checkpoint,
  names: LayerNames,
  { experts: settings, router, logitsDType, logitCap, normEpsilon, quantization }: ResolvedSettings,
): Promise<{
  readonly layer: MoeLayer<PlannedTensor, PlannedWeight>;
  readonly norms: PlannedNorms | undefined;
  readonly dtype: DType;
  readonly formats: readonly string[];
  readonly storedBytes: number;
}> {
  const planner = new TensorPlanner(checkpoint, quantization);
  const weight = await planner.own(names.router, ["E", "H"]);
  const [experts, hidden] = weight.shape as [number, number];
  const bias = names.routerBias === undefined ? undefined : await planner.ownTensor(names.routerBias, experts);
  const corrects = names.correctionBias !== undefined && routerRules[router.kind].before !== "none";
  const correctionBias = corrects ? await planner.ownTensor(names.correctionBias!, experts) : undefined;
  const routerDType = bias && bias.dtype !== weight.dtype ? "f32" : weight.dtype;
  const latent = names.latent && {
    input: await planner.projection(names.latent.input, ["latent size", hidden]),
    output: await planner.projection(names.latent.output, [hidden, "latent size"]),
  };
  const norms = names.norms && {
    router: await planner.ownTensor(names.norms.router, hidden),
    experts: await planner.ownTensor(names.norms.experts, hidden),
    expertScale: await planner.ownTensor(names.norms.expertScale, experts),
    epsilon: normEpsilon,
  };
  const { base, packing } = names;
  const width = latent ? latent.input.shape[0]! : hidden;
  const routed = await planExperts(planner, { base, packing, experts, hidden: width, settings });
  const sharedExpert = names.shared && await planShared(planner, names, hidden, settings);
  planner.expectUsed(
    namesOfLayer(checkpoint, names).filter((name) => name !== names.correctionBias && name !== names.tokenTable),
  );
  return {
    dtype: planner.expertsDType,
    formats: planner.formats,
    storedBytes: planner.storedBytes,
    norms,
    layer: {
      ...routed,
      router: {
        weight: { ...weight, dtype: routerDType },
        bias: bias ? { ...bias, dtype: routerDType } : undefined,
        options: { ...router, correctionBias: correctionBias ? { ...correctionBias, dtype: "f32" } : undefined },
        logitsDType,
        logitCap,
      },
      ...sharedExpert && { sharedExpert },
      ...latent && { latent },
    },
  };
}

/** The tensors of experts. */
type PlannedExperts<W = PlannedTensor> = ExpertsLayer<PlannedTensor, W>;

async function planExperts(planner: TensorPlanner, group: Group): Promise<PlannedExperts<PlannedWeight>> {
  const layer = await (group.packing.gateUp === undefined ? planSplit(planner, group) : planFused(planner, group));
  if (layer.weightLayout !== "out-in") return layer;
  const isSplit = (layer.gated ?? true) && layer.gateUpLayout === "concatenated";
  return { ...layer, gateUpProj: planWeight(layer.gateUpProj, isSplit), downProj: planWeight(layer.downProj, false) };
}

/** Plans gates, ups and downs in linear layers of their own. Gate and up of each expert follow each other. */
async function planSplit(
  planner: TensorPlanner,
  { base, packing: { gate, up, down, flat, downLayout }, experts, hidden, settings }: Group,
): Promise<PlannedExperts> {
  if (settings.weightLayout === "in-out") throw layoutError("weight layout", "out-in");
  const { gated = true } = settings;
  if (gated && settings.gateUpLayout === "interleaved") throw layoutError("gate-up layout", "concatenated");
  if (gated && gate === undefined) {
    throw planner.error(
      `${linearName(base, down, 0)}.weight`,
      "belongs to an expert without a gate: --ungated is needed",
    );
  }
  const each = down.includes("{e}");
  const surplus = linearName(base, down, experts);
  if (each && planner.hasWeight(surplus)) {
    throw planner.error(
      `${surplus}.weight`,
      `belongs to an expert that the router, with ${experts} rows, does not have`,
    );
  }
  const isTransposed = downLayout === "in-out";
  const stack = each || experts === 1 ? {} : { stacked: experts, flat };
  const first = await planner.matrix(linearName(base, down, 0), 0, isTransposed ? ["I", hidden] : [hidden, "I"], stack);
  const intermediate = first.weight.shape.at(isTransposed ? -2 : -1)!;
  const ups = gated ? [gate!, up!] : [planner.hasWeight(linearName(base, up!, 0)) ? up! : gate!];
  const columns = ups.length * intermediate;
  const gateUpProj = await planner.stack(experts, ups.map((name) => (e) => linearName(base, name, e)), [
    intermediate,
    hidden,
  ], stack);
  const downProj = await planner.stack(experts, [(e) => linearName(base, down, e)], [hidden, intermediate], {
    ...stack,
    isTransposed,
  });
  const layer = {
    ...settings,
    gateUpLayout: "concatenated",
    weightLayout: "out-in",
    gateUpProj: { ...gateUpProj, shape: [experts, columns, hidden] },
    downProj: { ...downProj, shape: [experts, hidden, intermediate] },
  } as const;
  if (!planner.has(`${linearName(base, down, 0)}.bias`)) return layer;
  const bias = (names: readonly string[], size: number) =>
    planner.biases(experts, names.map((name) => (e) => `${linearName(base, name, e)}.bias`), size);
  return {
    ...layer,
    gateUpProjBias: { ...await bias(ups, intermediate), shape: [experts, columns] },
    downProjBias: { ...await bias([down], hidden), shape: [experts, hidden] },
  };
}

/** Plans gates and ups in one tensor, of all experts. */
async function planFused(
  planner: TensorPlanner,
  { base, packing, experts, hidden, settings }: Group,
): Promise<PlannedExperts> {
  const { gated = true, weightLayout: asked } = settings;
  const ungated = packing.ungated !== undefined && planner.hasWeight(base + packing.ungated);
  const [gateUp, down] = [base + (gated || !ungated ? packing.gateUp! : packing.ungated!), base + packing.down];
  const downProj = await planner.fused(down, experts);
  const gateUpProj = await planner.fused(gateUp, experts);
  const layouts = packing.layout
    ? [packing.layout]
    : downProj.isOutIn
    ? ["out-in"] as const
    : ["in-out", "out-in"] as const;
  if (asked && !layouts.some((layout) => layout === asked)) throw layoutError("weight layout", layouts[0]!);
  const fitting = layouts.map((weightLayout) => {
    const intermediate = downProj.shape[weightLayout === "out-in" ? 2 : 1]!;
    const sizes = { experts, hidden, intermediate, gated, weightLayout };
    return { ...sizes, shapes: weightShapes(sizes) };
  }).filter(({ weightLayout, shapes }) =>
    (asked ?? weightLayout) === weightLayout && sameShape(shapes.downProj, downProj.shape) &&
    sameShape(shapes.gateUpProj, gateUpProj.shape)
  );
  const [found] = fitting;
  const both = `and ${quote(planner.nameOf(down))}`;
  if (!found) {
    throw planner.error(
      planner.nameOf(gateUp),
      `${both} must fit ${experts} experts of hidden size ${hidden}${gated ? " with a gate" : ""}` +
        `${asked ? `, ${asked}` : ""}, got [${gateUpProj.shape.join(", ")}] and [${downProj.shape.join(", ")}]`,
    );
  }
  if (fitting.length > 1) {
    throw planner.error(
      planner.nameOf(gateUp),
      `${both} fit both weight layouts: --weight-layout is needed, in-out or out-in`,
    );
  }
  const [gateUpBias, downBias] = [gateUp, down].map((name) =>
    [`${name}_bias`, `${name}.bias`].find((name) => planner.has(name))
  );
  const lone = gateUpBias ?? downBias;
  if (lone !== undefined && !(gateUpBias && downBias)) {
    const [named, other] = gateUpBias ? [gateUp, down] : [down, gateUp];
    throw planner.error(other + lone.slice(named.length), `is missing, but ${quote(lone)} exists`);
  }
  const bias = async (name: string | undefined, size: number) =>
    name === undefined ? undefined : await planner.bias(name, [experts, size]);
  return {
    ...settings,
    weightLayout: found.weightLayout,
    gateUpProj: gateUpProj.planned,
    downProj: downProj.planned,
    gateUpProjBias: await bias(gateUpBias, gateUpColumns(found)),
    downProjBias: await bias(downBias, hidden),
  };
}

/** Plans the expert of every token. */
async function planShared(
  planner: TensorPlanner,
  { shared, sharedGate }: LayerNames,
  hidden: number,
  settings: Settings,
): Promise<SharedExpert<PlannedTensor, PlannedWeight>> {
  const { prefix, packing } = shared!;
  const isPlain = packing.gateUp === "gate_up_proj"; // the names of yamoe's own layers: laid out as the routed experts
  const { weightLayout: _weightLayout, gateUpLayout: _gateUpLayout, ...rest } = settings;
  const own = isPlain ? settings : packing.gateUp ? { ...rest, gateUpLayout: "concatenated" as const } : rest;
  const expert = await planExperts(planner, { base: prefix, packing, experts: 1, hidden, settings: own });
  return sharedGate ? { ...expert, gate: await planner.row(sharedGate, hidden) } : expert;
}

function layoutError(what: string, only: string): RangeError {
  return new RangeError(`The ${what} must be ${only} for weights that are divided into such tensors`);
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, i) => size === b[i]);
}
