// Checks the tensors and the options of a `moe` call and derives its sizes. Each call is resolved once, before any work.
import { expectDType, expectFloat, expectObject, expectShape, expectSpec, type TensorSpec } from "./checks.ts";
import type { ExpertsComputation, ExpertsInputs } from "./experts.ts";
import { isWeight } from "./experts_inputs.ts";
import { expectCapacity, layerOptionNames } from "./experts_options.ts";
import type { ExpertsLayer, LatentSpace, MoeLayer, MoeOptions, MoeRouter, RmsNorm, SharedExpert } from "./moe.ts";
import { type ResolvedExperts, resolveExperts } from "./resolve_experts.ts";
import { checkNames, definedMembers } from "../known_names.ts";
import type { WeightSpec } from "./weights.ts";
import { resolveRouter, type Router } from "../routing/router.ts";
import { checkWeight } from "../tensor/packed.ts";
import type { PackedSpec, PackedTensor } from "../tensor/packed_tensor.ts";
import { checkTensor, describeValue, type DType, formatShape, type Tensor } from "../tensor/tensor.ts";
import { plural } from "../text.ts";

/** The sizes of a {@linkcode moe} call, with every option decided. */
export interface ResolvedMoe {
  /** H. With a latent space, the hidden size of the routed experts is another. */
  readonly hidden: number;
  readonly router: Router;
  /** The dtype of the router's weight. */
  readonly routerDType: DType;
  readonly logitsDType: DType;
  readonly routed: ResolvedExperts;
  readonly shared: ResolvedExperts | undefined;
}

/** A resolved call: its tensors, and everything that was derived from them and from the options. */
export interface MoeCall<T> extends Pick<MoeOptions, "onProgress" | "tokenIds"> {
  readonly hidden: T;
  readonly layer: MoeLayer<T>;
  readonly shape: ResolvedMoe;
}

const weightNames = ["gateUpProj", "gateUpProjBias", "downProj", "downProjBias"] as const;
const latentNames = ["input", "output"] as const satisfies (keyof LatentSpace)[];
const routerNames = [
  ...["weight", "bias", "options", "logitsDType"] as const,
  ...["tokenTable", "logitCap", "norm", "expertScale"] as const,
] satisfies (keyof MoeRouter)[];
const optionNames = [
  "expertCapacity",
  "batchInvariant",
  "onProgress",
  "tokenIds",
] as const satisfies (keyof MoeOptions)[];
const expertsNames: readonly (keyof ExpertsLayer)[] = [...weightNames, ...layerOptionNames];

/**
 * Applies functions to each tensor of a layer that is present.
 *
 * @param changeWeight The function for the experts' weights. The default is that for the other tensors.
 */
export function mapLayer<From, To, FromWeight = From, ToWeight = To>(
  layer: MoeLayer<From, FromWeight>,
  change: (tensor: From) => To,
  changeWeight: (weight: FromWeight) => ToWeight = change as unknown as (weight: FromWeight) => ToWeight,
): MoeLayer<To, ToWeight> {
  const { router, sharedExpert, latent } = layer;
  const of = (name: string, value: unknown) =>
    isWeight(name as keyof ExpertsInputs) ? changeWeight(value as FromWeight) : change(value as From);
  const map = <L extends object>(from: L, names: readonly string[]) => {
    const tensors = Object.entries(from).filter(([name, value]) => names.includes(name) && value !== undefined);
    return { ...from, ...Object.fromEntries(tensors.map(([name, value]) => [name, of(name, value)])) };
  };
  return {
    ...map(layer, weightNames),
    router: { ...map(router, ["weight", "bias"]), options: map(router.options, ["correctionBias"]) },
    ...sharedExpert && { sharedExpert: map(sharedExpert, [...weightNames, "gate"]) },
    ...latent && { latent: map(latent, latentNames) },
  } as unknown as MoeLayer<To, ToWeight>;
}

/** Picks the weights of a layer, which are inputs of `experts`. */
export function layerWeights<T, W>(
  { gateUpProj, gateUpProjBias, downProj, downProjBias }: ExpertsLayer<T, W>,
): Pick<ExpertsInputs<T, W>, typeof weightNames[number]> {
  return { gateUpProj, gateUpProjBias, downProj, downProjBias };
}

/**
 * Checks host tensors and options.
 *
 * @throws {TypeError} If a tensor is missing, malformed or of another dtype, or a name is unknown.
 * @throws {RangeError} If a shape or an option is out of range.
 */
export function checkMoe(hidden: Tensor, layer: MoeLayer, options: MoeOptions = {}): ResolvedMoe {
  const shape = resolveMoe(hidden, layer, options);
  checkTensor("hidden", hidden);
  const { router, sharedExpert, latent } = layer;
  checkTensors("layer.router", { weight: router.weight, bias: router.bias });
  checkTensors("layer.router.options", { correctionBias: router.options.correctionBias });
  checkTensors("layer", layerWeights(layer));
  if (sharedExpert) checkTensors("layer.sharedExpert", { ...layerWeights(sharedExpert), gate: sharedExpert.gate });
  if (latent) checkTensors("layer.latent", { input: latent.input, output: latent.output });
  return shape;
}

function checkTensors(owner: string, tensors: Readonly<Record<string, Tensor | PackedTensor | undefined>>): void {
  for (const [name, tensor] of Object.entries(tensors)) if (tensor) checkWeight(`${owner}.${name}`, tensor);
}

/**
 * Checks dtypes, shapes and options and derives the sizes. Does not read any element.
 *
 * @throws {TypeError} If a tensor is missing or of another dtype, or a name is unknown.
 * @throws {RangeError} If a shape or an option is out of range.
 */
export function resolveMoe<T extends TensorSpec>(
  hidden: T,
  layer: MoeLayer<T, T | PackedSpec>,
  options: MoeOptions = {},
): ResolvedMoe {
  expectNames(
    "layer",
    layer,
    [...expertsNames, "router", "sharedExpert", "latent", "norm", "expertCapacity"] satisfies (keyof MoeLayer)[],
  );
  expectNames("layer.router", layer.router, routerNames);
  expectNames("options", options, [...optionNames, "backend"]);
  expectSpec("hidden", hidden);
  expectFloat("hidden", hidden.dtype);
  if (hidden.shape.length !== 2) {
    throw new RangeError(`hidden must have shape [T, H], got ${formatShape(hidden.shape)}`);
  }
  const [tokens = 0, width = 0] = hidden.shape;
  const { router, sharedExpert, latent } = layer;
  const { weight, bias, logitsDType = "f32" } = router;
  expectFloat("layer.router.logitsDType", logitsDType);
  expectSpec("layer.router.weight", weight);
  expectFloat("layer.router.weight", weight.dtype);
  const experts = weight.shape[0] ?? 0;
  expectShape("layer.router.weight", weight, [experts, width]);
  if (bias !== undefined) expectTensor("layer.router.bias", bias, weight.dtype, [experts]);
  expectObject("layer.router.options", router.options);
  const decided = resolveRouter(router.options, experts);
  checkTokens(router.tokenTable, options.tokenIds, tokens, decided.topK);
  const { logitCap } = router;
  if (logitCap !== undefined && !(typeof logitCap === "number" && logitCap > 0 && logitCap < Infinity)) {
    throw new RangeError(`layer.router.logitCap must be a finite number above 0, got ${describeValue(logitCap)}`);
  }
  if (router.norm !== undefined) checkNorm("layer.router.norm", router.norm, width);
  if (router.expertScale !== undefined) {
    expectTensor("layer.router.expertScale", router.expertScale, "f32", [experts]);
  }
  if (layer.norm !== undefined) checkNorm("layer.norm", layer.norm, width);
  if (layer.norm && latent) throw new TypeError("layer.norm must not be given for a layer with a latent space");

  const assignments = (topK: number) => ({
    hiddenStates: hidden,
    routerIndices: { dtype: "i32", shape: [tokens, topK] },
    routingWeights: { dtype: "f32", shape: [tokens, topK] },
  } as const);
  if (latent !== undefined) checkLatent(latent, hidden, layer);
  const { expertCapacity } = layer;
  if (expertCapacity !== undefined) expectCapacity("layer.expertCapacity", expertCapacity);
  const routed = resolvePart("layer", layer, experts, {
    ...assignments(decided.topK),
    ...latent && { hiddenStates: { dtype: hidden.dtype, shape: [tokens, latent.input.shape[0]!] } },
    ...decided.onInput && { inputWeights: { dtype: "f32", shape: [tokens, decided.topK] } },
    ...sharedExpert && !latent && { addend: hidden },
  }, { ...options, ...options.expertCapacity === undefined && { expertCapacity } });
  const resolved = { hidden: width, router: decided, routerDType: weight.dtype, logitsDType, routed };
  if (sharedExpert === undefined) return { ...resolved, shared: undefined };

  expectNames("layer.sharedExpert", sharedExpert, [...expertsNames, "gate"] satisfies (keyof SharedExpert)[]);
  const { gate } = sharedExpert;
  if (gate !== undefined) expectTensor("layer.sharedExpert.gate", gate, hidden.dtype, [1, width]);
  const { batchInvariant } = options;
  const inputs = { ...assignments(1), ...latent && { addend: hidden } };
  const resolveShared = () => resolvePart("layer.sharedExpert", sharedExpert, 1, inputs, { batchInvariant });
  const shared = named("layer.sharedExpert", resolveShared);
  return { ...resolved, shared };
}

function checkNorm(name: string, norm: RmsNorm, width: number): void {
  expectNames(name, norm, ["weight", "epsilon"] satisfies (keyof RmsNorm)[]);
  expectTensor(`${name}.weight`, norm.weight, "f32", [width]);
  if (typeof norm.epsilon === "number" && norm.epsilon >= 0 && norm.epsilon < Infinity) return;
  throw new RangeError(`${name}.epsilon must be a finite number of at least 0, got ${describeValue(norm.epsilon)}`);
}

/** Checks the table that chooses experts by token id, and that there is an id for each token. */
function checkTokens(table: Tensor | undefined, ids: MoeOptions["tokenIds"], tokens: number, topK: number): void {
  if (table === undefined) {
    if (ids === undefined) return;
    throw new TypeError("tokenIds must only be given for a layer whose router has a token table");
  }
  expectSpec("layer.router.tokenTable", table);
  expectTensor("layer.router.tokenTable", table, "i32", [table.shape[0] ?? 0, topK]);
  checkTensor("layer.router.tokenTable", table);
  if (!(Array.isArray(ids) || ids instanceof Int32Array)) {
    throw new TypeError(
      `tokenIds must be an array or an Int32Array, because the layer chooses experts by token id, got ${
        describeValue(ids)
      }`,
    );
  }
  if (ids.length !== tokens) throw new RangeError(`tokenIds must have ${plural(tokens, "id")}, got ${ids.length}`);
}

function checkLatent<T extends TensorSpec>(
  latent: LatentSpace<T>,
  { dtype, shape: [, width = 0] }: T,
  { downProj, weightLayout }: ExpertsLayer<T, T | PackedSpec>,
): void {
  expectNames("layer.latent", latent, latentNames);
  expectSpec("layer.latent.input", latent.input);
  const size = downProj?.shape?.[weightLayout === "out-in" ? 1 : 2] ?? latent.input.shape[0] ?? 0;
  expectTensor("layer.latent.input", latent.input, dtype, [size, width]);
  expectTensor("layer.latent.output", latent.output, dtype, [width, size]);
}

/** Calls a function whose errors name only the members of a part of the layer, and adds the name of the part to them. */
function named<Result>(part: string, resolve: () => Result): Result {
  try {
    return resolve();
  } catch (cause) {
    if (!(cause instanceof Error) || cause.message.startsWith(part)) throw cause;
    const message = `${part}: ${cause.message}`;
    throw cause instanceof TypeError ? new TypeError(message, { cause }) : new RangeError(message, { cause });
  }
}

/** Resolves the routed or the shared experts of a layer. */
function resolvePart<T extends TensorSpec>(
  part: string,
  layer: ExpertsLayer<T, T | PackedSpec>,
  experts: number,
  inputs: Omit<ExpertsInputs<TensorSpec, WeightSpec>, typeof weightNames[number]>,
  options: MoeOptions,
): ResolvedExperts {
  expectSpec(`${part}.downProj`, layer.downProj as TensorSpec);
  if (layer.downProj.shape[0] !== experts) {
    const got = formatShape(layer.downProj.shape);
    throw new RangeError(`${part}.downProj must hold ${plural(experts, "expert")} to match the rest, got shape ${got}`);
  }
  const { expertCapacity, batchInvariant, onProgress } = options;
  return resolveExperts(definedMembers({ ...layerWeights<TensorSpec, WeightSpec>(layer), ...inputs }), {
    ...computationOf(layer),
    ...{ expertCapacity, batchInvariant, onProgress },
  });
}

function computationOf(layer: ExpertsLayer<unknown, unknown>): ExpertsComputation {
  return Object.fromEntries(layerOptionNames.map((name) => [name, layer[name]]));
}

function expectNames(name: string, value: object, known: readonly string[]): void {
  expectObject(name, value);
  checkNames(name, value, known);
}

function expectTensor(name: string, tensor: TensorSpec, dtype: DType, shape: readonly number[]): void {
  expectSpec(name, tensor);
  expectDType(name, tensor, dtype);
  expectShape(name, tensor, shape);
}
