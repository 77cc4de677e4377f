// The contract of `moe`: what fits together. Everything is checked here, once, before any work.
import { type ExpertsShape, expertsShape, layerOptions } from "./experts_shape.ts";
import { checkNames } from "../known_names.ts";
import type { ExpertsLayer, MoeLayer, MoeOptions, MoeRouter, SharedExpert } from "./moe.ts";
import { resolveRouter, type Router } from "../routing/router.ts";
import { checkTensor, describeValue, type DType, floatDTypes, formatShape, type Tensor } from "../tensor/tensor.ts";

/** What of a tensor its shape and dtype say. */
type Described = Pick<Tensor, "dtype" | "shape">;

/** The sizes of a {@linkcode moe} call and everything decided. */
export interface MoeShape<T> {
  readonly router: Router<T>;
  readonly logitsDType: DType;
  readonly routed: ExpertsShape;
  readonly shared: ExpertsShape | undefined;
}

/** Applies a function to each tensor of a layer that is there. */
export function mapLayer<From, To>(layer: MoeLayer<From>, change: (tensor: From) => To): MoeLayer<To> {
  const { router, sharedExpert } = layer;
  const map = <L extends object>(from: L, names: readonly string[]) => {
    const tensors = Object.entries(from).filter(([name, value]) => names.includes(name) && value !== undefined);
    return { ...from, ...Object.fromEntries(tensors.map(([name, value]) => [name, change(value)])) };
  };
  return {
    ...map(layer, weightNames),
    router: { ...map(router, ["weight", "bias"]), options: map(router.options, ["correctionBias"]) },
    ...sharedExpert && { sharedExpert: map(sharedExpert, [...weightNames, "gate"]) },
  } as unknown as MoeLayer<To>;
}

const weightNames = ["gateUpProj", "gateUpProjBias", "downProj", "downProjBias"] as const;

const knownExperts = {
  gateUpProj: true,
  gateUpProjBias: true,
  downProj: true,
  downProjBias: true,
  ...layerOptions,
} as const satisfies Record<keyof ExpertsLayer, true>;
const knownLayer: Readonly<Record<keyof MoeLayer, true>> = { ...knownExperts, router: true, sharedExpert: true };
const knownShared: Readonly<Record<keyof SharedExpert, true>> = { ...knownExperts, gate: true };
const knownRouter: Readonly<Record<keyof MoeRouter, true>> = {
  weight: true,
  bias: true,
  options: true,
  logitsDType: true,
};
const knownOptions: Readonly<Record<keyof MoeOptions | "backend", true>> = {
  expertCapacity: true,
  batchInvariant: true,
  onProgress: true,
  backend: true,
};

/**
 * Checks host tensors and options against the contract.
 *
 * @throws {TypeError} If a tensor is missing, malformed or of another dtype.
 * @throws {RangeError} If a shape or an option is out of range.
 */
export function checkMoe(hidden: Tensor, layer: MoeLayer, options: MoeOptions = {}): MoeShape<Tensor> {
  checkTensor("hidden", hidden);
  checkObject("layer", layer);
  checkNames("layer", layer, knownLayer);
  checkObject("layer.router", layer.router);
  checkNames("layer.router", layer.router, knownRouter);
  checkObject("options", options);
  checkNames("options", options, knownOptions);
  checkObject("layer.router.options", layer.router.options);
  checkTensor("layer.router.weight", layer.router.weight);
  if (layer.router.bias) checkTensor("layer.router.bias", layer.router.bias);
  if (layer.router.options.correctionBias) checkTensor("correctionBias", layer.router.options.correctionBias);
  checkWeights("layer", layer);
  if (layer.sharedExpert) {
    checkObject("layer.sharedExpert", layer.sharedExpert);
    checkNames("layer.sharedExpert", layer.sharedExpert, knownShared);
    checkWeights("layer.sharedExpert", layer.sharedExpert);
    if (layer.sharedExpert.gate) checkTensor("layer.sharedExpert.gate", layer.sharedExpert.gate);
  }
  return moeShape(hidden, layer, options);
}

function checkObject(name: string, value: object): void {
  if (typeof value === "object" && value !== null) return;
  throw new TypeError(`${name} must be an object, got ${describeValue(value)}`);
}

function checkWeights(name: string, layer: ExpertsLayer): void {
  for (const tensor of weightNames) {
    if (layer[tensor] || !tensor.endsWith("Bias")) checkTensor(`${name}.${tensor}`, layer[tensor]!);
  }
}

/** Derives the sizes from the tensors' shapes and checks that all agree, dtypes and options too. Looks at no element. */
export function moeShape<T extends Described>(hidden: T, layer: MoeLayer<T>, options: MoeOptions = {}): MoeShape<T> {
  const { router, sharedExpert } = layer;
  expectFloat("hidden", hidden.dtype);
  if (hidden.shape.length !== 2) {
    throw new RangeError(`hidden must have shape [T, H], got ${formatShape(hidden.shape)}`);
  }
  const width = hidden.shape[1]!;
  const experts = router.weight.shape[0] ?? 0;
  const { logitsDType = "f32" } = router;
  expectFloat("layer.router.logitsDType", logitsDType);
  expectFloat("layer.router.weight", router.weight.dtype);
  expect("layer.router.weight", router.weight, router.weight.dtype, [experts, width]);
  if (router.bias) expect("layer.router.bias", router.bias, router.weight.dtype, [experts]);
  const decided = resolveRouter(router.options, experts);
  if (sharedExpert?.gate) expect("layer.sharedExpert.gate", sharedExpert.gate, hidden.dtype, [1, width]);

  const routed = expertsOf("layer", hidden, layer, experts, decided.topK, options);
  const { batchInvariant } = options;
  const shared = sharedExpert && expertsOf("layer.sharedExpert", hidden, sharedExpert, 1, 1, { batchInvariant });
  return { router: decided, logitsDType, routed, shared };
}

/** The shape of the experts' part, whose errors are to name where the tensors come from. */
function expertsOf<T extends Described>(
  name: string,
  hiddenStates: T,
  layer: ExpertsLayer<T>,
  experts: number,
  topK: number,
  options: MoeOptions,
): ExpertsShape {
  const tokens = hiddenStates.shape[0]!;
  if (layer.downProj.shape[0] !== experts) {
    throw new RangeError(
      `${name}.downProj must hold ${experts} experts to match the rest, got shape ${formatShape(layer.downProj.shape)}`,
    );
  }
  return expertsShape({
    ...layer,
    hiddenStates,
    routerIndices: { dtype: "i32", shape: [tokens, topK] },
    routingWeights: { dtype: "f32", shape: [tokens, topK] },
  }, { ...expertsOptions(layer), ...options });
}

/** The options of `experts` that a layer decides. */
export function expertsOptions(
  { activation, activationAlpha, activationLimit, gated, gateUpLayout, weightLayout }: ExpertsLayer<unknown>,
): ExpertsLayerOptions {
  return { activation, activationAlpha, activationLimit, gated, gateUpLayout, weightLayout };
}

type ExpertsLayerOptions = Pick<
  ExpertsLayer,
  "activation" | "activationAlpha" | "activationLimit" | "gated" | "gateUpLayout" | "weightLayout"
>;

function expectFloat(name: string, dtype: DType): void {
  if (floatDTypes.includes(dtype)) return;
  throw new TypeError(`${name} must be of dtype ${floatDTypes.join(", ")}, got ${describeValue(dtype)}`);
}

function expect(name: string, tensor: Described, dtype: DType, shape: readonly number[]): void {
  if (tensor.dtype !== dtype) throw new TypeError(`${name} must be of dtype ${dtype}, got ${tensor.dtype}`);
  if (tensor.shape.length === shape.length && shape.every((size, i) => size === tensor.shape[i])) return;
  throw new RangeError(
    `${name} must have shape ${formatShape(shape)} to match the rest, got ${formatShape(tensor.shape)}`,
  );
}
