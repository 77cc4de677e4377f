// Which tensors of a checkpoint a layer is made of, and where in the layer's own each of them goes. All of them are looked
// up and checked here; none is read.
import { gateUpColumns, weightShapes } from "../../contract/experts_sizes.ts";
import type { ExpertsLayer, MoeLayer, SharedExpert } from "../../contract/moe.ts";
import { routerRules } from "../../routing/router.ts";
import { SafetensorsError } from "../../safetensors/error.ts";
import { quote } from "../../text.ts";
import type { StoredDType, StoredTensor } from "../../safetensors/header.ts";
import { dtypesByStored } from "../../safetensors/safetensors.ts";
import { type DType, elementCount, formatShape } from "../../tensor/tensor.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { type LayerNames, namesOfLayer } from "./layer_names.ts";
import type { ExpertsSettings } from "./model_config.ts";
import { mxfp4Block } from "./quantized.ts";
import type { ResolvedSettings } from "./settings.ts";

/** A tensor of a layer, made of one in the checkpoint or of several one after the other. */
export interface PlannedTensor {
  readonly shape: readonly number[];
  /** Its dtype; undefined where it is the experts'. */
  readonly dtype: DType | undefined;
  readonly parts: readonly Part[];
}

/** A tensor in the checkpoint that is a part of a layer's. */
export interface Part {
  /** Its name, or that of the numbers of fewer bits. */
  readonly name: string;
  readonly stored: StoredDType;
  readonly shape: readonly number[];
  /** The element of the layer's tensor that it begins at. */
  readonly start: number;
  /** The scales of numbers of fewer bits, and for how many neighbours in rows and columns each is. */
  readonly scales?: {
    readonly name: string;
    readonly stored: StoredDType;
    readonly rows: number;
    readonly columns: number;
  };
}

/** The dtypes that the op has, by their names in a file. */
const floats: readonly StoredDType[] = ["F16", "BF16", "F32"];

/**
 * Plans a layer.
 *
 * @throws {SafetensorsError} If a tensor is missing, of another dtype or shape, or of the layer and of no use here.
 */
export async function planTensors(
  checkpoint: Checkpoint,
  names: LayerNames,
  { experts: settings, router, logitsDType, weightBlock }: ResolvedSettings,
): Promise<{ readonly layer: MoeLayer<PlannedTensor>; readonly dtype: DType }> {
  const planner = new Planner(checkpoint, weightBlock);
  const weight = await planner.own(names.router, ["E", "H"]);
  const [experts, hidden] = weight.shape as [number, number];
  const bias = names.routerBias && await planner.own(names.routerBias, [experts]);
  const corrects = names.correctionBias && routerRules[router.kind!].before !== "none";
  const correctionBias = corrects && await planner.own(names.correctionBias!, [experts]);
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

/** Experts of linear layers, [out, in] each: gate, up and down of expert `e` have names that begin with `prefix(e)`. */
async function planLinear(
  planner: Planner,
  prefix: (expert: number) => string,
  experts: number,
  hidden: number,
  settings: ExpertsSettings,
): Promise<ExpertsLayer<PlannedTensor>> {
  if (settings.weightLayout === "in-out") throw layoutError("weight layout", "out-in");
  const { gated = true } = settings;
  if (gated && settings.gateUpLayout === "interleaved") throw layoutError("gate-up layout", "concatenated");
  const surplus = prefix(experts);
  const [gate, up, down] = planner.has(`${prefix(0)}down_proj.weight`)
    ? ["gate_proj", "up_proj", "down_proj"] as const
    : ["w1", "w3", "w2"] as const;
  if (experts > 1 && planner.has(`${surplus}${down}.weight`)) {
    throw planner.error(`${surplus}${down}.weight`, `is of an expert that the router, of ${experts}, has no row for`);
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

/** Experts in one tensor for all. */
async function planFused(
  planner: Planner,
  { packing, experts: prefix }: LayerNames,
  experts: number,
  hidden: number,
  settings: ExpertsSettings,
): Promise<ExpertsLayer<PlannedTensor>> {
  const { gated = true } = settings;
  const ungatedName = planner.has(`${prefix}up_proj`) ? "up_proj" : "gate_up_proj";
  const [gateUp, down] = packing === "granite"
    ? ["input_linear.weight", "output_linear.weight"] as const
    : [gated ? "gate_up_proj" : ungatedName, "down_proj"] as const;
  const downProj = await planner.fused(prefix + down, [experts, "out or in", "in or out"]);
  const gateUpProj = await planner.fused(prefix + gateUp, [experts, "out or in", "in or out"]);
  const layouts = planner.isQuantized(prefix + down) || packing === "granite"
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
      `and ${quote(prefix + down)} fit both weight layouts, in-out and out-in: which is needed, as --weight-layout`,
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

/** The expert that every token goes to: linear layers, or the plain names of one expert. */
async function planShared(
  planner: Planner,
  prefix: string,
  gate: string | undefined,
  hidden: number,
  settings: ExpertsSettings,
): Promise<SharedExpert<PlannedTensor>> {
  const { weightLayout: _weightLayout, gateUpLayout: _gateUpLayout, ...activation } = settings;
  const expert = planner.has(`${prefix}output_linear.weight`)
    ? await planSharedGranite(planner, prefix, hidden, activation)
    : planner.has(`${prefix}down_proj`)
    ? await planFused(planner, { packing: "fused", experts: prefix } as LayerNames, 1, hidden, settings)
    : await planLinear(planner, () => prefix, 1, hidden, activation);
  return gate ? { ...expert, gate: await planner.whole(gate, [1, hidden]) } : expert;
}

/** Granite's: gate and up one after the other in one linear layer. */
async function planSharedGranite(
  planner: Planner,
  prefix: string,
  hidden: number,
  activation: ExpertsSettings,
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
  return new RangeError(`The ${what} must be ${only} for weights that are cut into such tensors`);
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, i) => size === b[i]);
}

/** What a dimension must be: a size, or any, by a name. */
type Dimension = number | string;

/** Looks tensors up and checks them. The experts' must all be of one dtype. */
class Planner {
  readonly #checkpoint: Checkpoint;
  readonly #weightBlock: readonly [number, number];
  readonly #used = new Set<string>();
  #first: StoredTensor | undefined;

  constructor(checkpoint: Checkpoint, weightBlock: readonly [number, number]) {
    this.#checkpoint = checkpoint;
    this.#weightBlock = weightBlock;
  }

  /** Refuses names that were not asked for: what is not understood must not be left out in silence. */
  expectUsed(names: readonly string[]): void {
    const surplus = names.find((name) => !this.#used.has(name));
    if (surplus !== undefined) throw this.error(surplus, "is of this layer, and there is no use for it here");
  }

  /** The dtype of the experts' tensors, or what those of fewer bits are made into. */
  get expertsDType(): DType {
    return dtypesByStored[this.#first!.dtype] ?? "bf16";
  }

  has(name: string): boolean {
    return this.#checkpoint.has(name);
  }

  error(name: string, problem: string): SafetensorsError {
    return new SafetensorsError(`${this.#checkpoint.path}: tensor ${quote(name)} ${problem}`);
  }

  /** A tensor that keeps its own dtype. */
  async own(name: string, shape: readonly Dimension[]): Promise<PlannedTensor & { readonly dtype: DType }> {
    const stored = await this.#describe(name, shape);
    this.#expectDType(stored, floats);
    return {
      shape: stored.shape,
      dtype: dtypesByStored[stored.dtype]!,
      parts: [{ name, stored: stored.dtype, shape: stored.shape, start: 0 }],
    };
  }

  /** A tensor of the experts' dtype. */
  async whole(name: string, shape: readonly Dimension[]): Promise<PlannedTensor> {
    const part = await this.part(name, shape);
    return { shape: part.shape, dtype: undefined, parts: [part] };
  }

  /** One tensor of several, one after the other: for each expert those of some names. */
  async stack(
    experts: number,
    names: (expert: number) => readonly string[],
    shape: readonly number[],
  ): Promise<PlannedTensor> {
    const parts: Part[] = [];
    for (let e = 0; e < experts; e++) {
      for (const name of names(e)) {
        parts.push({ ...await this.part(name, shape), start: parts.length * elementCount(shape) });
      }
    }
    return { shape, dtype: undefined, parts };
  }

  isQuantized(name: string): boolean {
    return !this.has(name) && this.has(`${name}_blocks`);
  }

  /** A tensor of the experts' dtype, or of MXFP4 blocks and scales in its place. */
  async fused(name: string, shape: readonly Dimension[]): Promise<PlannedTensor> {
    if (!this.isQuantized(name)) return await this.whole(name, shape);
    const blocks = await this.#describe(`${name}_blocks`, [shape[0]!, "out", "in / 32", mxfp4Block / 2]);
    this.#expectDType(blocks, ["U8"]);
    const [experts, rows, groups] = blocks.shape as [number, number, number];
    const scales = await this.#describe(`${name}_scales`, [experts, rows, groups]);
    this.#expectDType(scales, ["U8"]);
    const whole = [experts, rows, groups * mxfp4Block];
    const part = {
      name: blocks.name,
      stored: "F4" as const,
      shape: whole,
      start: 0,
      scales: { name: scales.name, stored: scales.dtype, rows: 1, columns: mxfp4Block },
    };
    return { shape: whole, dtype: undefined, parts: [part] };
  }

  /** A tensor of the experts' dtype, or of FP8 with scales beside, as a part. */
  async part(name: string, shape: readonly Dimension[]): Promise<Part> {
    const tensor = await this.#describe(name, shape);
    const part = { name, stored: tensor.dtype, shape: tensor.shape, start: 0 };
    const scaled = tensor.dtype === "F8_E4M3" && tensor.shape.length === 2 && this.has(`${name}_scale_inv`);
    if (!scaled) this.#expectDType(tensor, floats);
    this.#expectSame(tensor);
    if (!scaled) return part;
    const [rows, columns] = this.#weightBlock;
    const blocks = [rows, columns].map((block, i) => Math.ceil(tensor.shape[i]! / block));
    const scales = await this.#describe(`${name}_scale_inv`, blocks);
    this.#expectDType(scales, floats);
    return { ...part, scales: { name: scales.name, stored: scales.dtype, rows, columns } };
  }

  async #describe(name: string, shape: readonly Dimension[]): Promise<StoredTensor> {
    if (!this.has(name)) {
      const packed = ["_packed", "_blocks", "_qweight"].map((end) => name.replace(/(\.weight)?$/, `$1${end}`));
      const other = packed.find((name) => this.has(name));
      throw this.error(
        name,
        other ? `is missing; ${quote(other)} is of a quantization that is not read` : "is missing",
      );
    }
    const tensor = await this.#checkpoint.describe(name);
    const fits = tensor.shape.length === shape.length &&
      shape.every((size, i) => typeof size === "string" ? tensor.shape[i]! > 0 : tensor.shape[i] === size);
    if (!fits) throw this.error(name, `must have shape [${shape.join(", ")}], got ${formatShape(tensor.shape)}`);
    this.#used.add(name);
    return tensor;
  }

  #expectDType({ name, dtype }: StoredTensor, expected: readonly StoredDType[]): void {
    if (expected.includes(dtype)) return;
    throw this.error(name, `must be of dtype ${expected.join(", ")}, it is ${dtype}`);
  }

  #expectSame(tensor: StoredTensor): void {
    this.#first ??= tensor;
    if (tensor.dtype === this.#first.dtype) return;
    throw this.error(
      tensor.name,
      `must be of dtype ${this.#first.dtype}, that of ${quote(this.#first.name)}, it is ${tensor.dtype}`,
    );
  }
}
