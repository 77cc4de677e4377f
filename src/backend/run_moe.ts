// Runs a whole layer on a backend, step by step. Nothing is copied to the host in between, except for the steps of
// host_steps.ts, which few layers have.
import type { Backend, BackendTensor } from "./backend.ts";
import type { ExpertsInputs } from "../contract/experts.ts";
import type { LatentSpace, MoeRouter, SharedExpert } from "../contract/moe.ts";
import { layerWeights, mapLayer, type MoeCall, type ResolvedMoe } from "../contract/resolve_moe.ts";
import type { ResolvedExperts } from "../contract/resolve_experts.ts";
import { definedMembers } from "../known_names.ts";
import type { BackendRouting } from "../contract/ops.ts";
import { resolveRouter } from "../routing/router.ts";
import { expertsOfTokens } from "../routing/token_table.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { mapWeight } from "../tensor/packed_tensor.ts";
import { normalize, routeOnHost } from "./host_steps.ts";

/** The part of a backend that runs a layer. */
type LayerBackend = Pick<Backend, "steps" | "runExperts" | "upload" | "download">;

/** A call, with the experts of its tokens if a table has chosen them: [T, K], i32. */
interface RoutableCall extends Omit<MoeCall<BackendTensor>, "tokenIds"> {
  readonly chosen: Tensor | undefined;
}

/**
 * Runs a layer. The shared expert is first, because its output is added to the routed experts' sum before that is rounded.
 * In a layer with a latent space it is last, and the routed experts' output is added to its own.
 *
 * @param backend Runs the steps, and the shared expert.
 * @param call The layer and its input.
 * @param run Runs the routed experts. Defaults to the backend.
 */
export async function runMoe(
  backend: LayerBackend,
  { tokenIds = [], ...given }: MoeCall<BackendTensor>,
  run: Backend["runExperts"] = (call) => backend.runExperts(call),
): Promise<BackendTensor> {
  const { hidden, layer: { sharedExpert, latent, norm, router: { tokenTable } }, shape: { shared, routed } } = given;
  const call = { ...given, chosen: tokenTable && expertsOfTokens(tokenTable, tokenIds, routed.experts) };
  if (latent) return await runLatent(backend, call, latent, run);
  using scope = new DisposableStack();
  const addend = sharedExpert && shared && scope.use(await runShared(backend, hidden, sharedExpert, shared));
  const addendWeights = sharedExpert?.gate && scope.use(await gateWeights(backend, hidden, sharedExpert.gate));
  const hiddenStates = norm ? scope.use(await normalize(backend, hidden, norm, hidden.dtype)) : hidden;
  return await runRouted(backend, call, { hiddenStates, ...definedMembers({ addend, addendWeights }) }, run);
}

/** Runs a layer whose routed experts compute in a latent space. */
async function runLatent(
  backend: LayerBackend,
  call: RoutableCall,
  latent: LatentSpace<BackendTensor>,
  run: Backend["runExperts"],
): Promise<BackendTensor> {
  const { hidden, layer: { sharedExpert }, shape: { shared } } = call;
  const project = (input: BackendTensor, weight: BackendTensor) => {
    const [columns, depth] = weight.shape as [number, number];
    const shape = { batch: 1, rows: hidden.shape[0]!, depth, columns };
    return backend.steps.linear({ input, weight, bias: undefined, dtype: hidden.dtype, shape });
  };
  using scope = new DisposableStack();
  const hiddenStates = scope.use(await project(hidden, latent.input));
  const sum = scope.use(await runRouted(backend, call, { hiddenStates }, run));
  if (!sharedExpert || !shared) return await project(sum, latent.output);
  const addend = scope.use(await project(sum, latent.output));
  const weights = sharedExpert.gate && scope.use(await gateWeights(backend, hidden, sharedExpert.gate));
  return await runShared(backend, hidden, sharedExpert, shared, { addend, weights });
}

/** Routes the tokens and runs the routed experts on rows, which may be other than the router's. */
async function runRouted(
  backend: LayerBackend,
  { hidden, layer, shape, onProgress, chosen }: RoutableCall,
  rows: Pick<ExpertsInputs<BackendTensor>, "hiddenStates" | "addend" | "addendWeights">,
  run: Backend["runExperts"],
): Promise<BackendTensor> {
  using scope = new DisposableStack();
  const routing = await routeLayer(backend, hidden, layer.router, shape, chosen);
  const assignments = {
    routerIndices: scope.use(routing.routerIndices),
    routingWeights: scope.use(routing.routerWeights),
    inputWeights: scope.use(routing.inputWeights),
  };
  const inputs = { ...rows, ...assignments, ...layerWeights(layer) };
  return await run({ inputs, shape: shape.routed, onProgress });
}

/**
 * Computes the experts of each token and their weights.
 *
 * @param chosen [T, K], i32: the experts, if a table has chosen them.
 */
export async function routeLayer(
  backend: LayerBackend,
  hidden: BackendTensor,
  { weight, bias, norm, expertScale, logitCap, options: { correctionBias } }: MoeRouter<BackendTensor>,
  { router, logitsDType, routed: { tokens, experts } }: ResolvedMoe,
  chosen: Tensor | undefined,
): Promise<BackendRouting> {
  using scope = new DisposableStack();
  const input = norm ? scope.use(await normalize(backend, hidden, norm, "f32")) : hidden;
  const product = { batch: 1, rows: tokens, depth: hidden.shape[1]!, columns: experts };
  const logits = scope.use(await backend.steps.linear({ input, weight, bias, dtype: logitsDType, shape: product }));
  if (!chosen && !expertScale && logitCap === undefined) {
    return await backend.steps.route({ logits, correctionBias, router, dtype: "f32", tokens });
  }
  const hostBias = correctionBias && await backend.download(correctionBias);
  return await routeOnHost(backend, logits, router, { correctionBias: hostBias, chosen, logitCap, expertScale });
}

/**
 * Runs a layer on tensors that keep their memory until the call ends.
 *
 * @param share Makes another tensor with the memory of a tensor.
 */
export async function shareAndRunMoe(
  backend: Backend,
  share: (tensor: BackendTensor) => BackendTensor,
  { hidden, layer, ...call }: MoeCall<BackendTensor>,
): Promise<BackendTensor> {
  using shared = new DisposableStack();
  const use = (tensor: BackendTensor) => shared.use(share(tensor));
  const tensors = { hidden: use(hidden), layer: mapLayer(layer, use, (weight) => mapWeight(weight, use)) };
  return await runMoe(backend, { ...tensors, ...call });
}

/** Runs the shared expert on every token. Its output is multiplied by `weights`, [T, 1], and `addend` is added. */
async function runShared(
  backend: LayerBackend,
  hiddenStates: BackendTensor,
  layer: SharedExpert<BackendTensor>,
  shape: ResolvedExperts,
  { weights, addend }: { readonly weights?: BackendTensor | undefined; readonly addend?: BackendTensor } = {},
): Promise<BackendTensor> {
  const { tokens } = shape;
  const { steps } = backend;
  using scope = new DisposableStack();
  const routerIndices = scope.use(await steps.full({ dtype: "i32", shape: [tokens, 1], value: 0 }));
  const routingWeights = weights ?? scope.use(await steps.full({ dtype: "f32", shape: [tokens, 1], value: 1 }));
  const inputs = { hiddenStates, routerIndices, routingWeights, ...addend && { addend }, ...layerWeights(layer) };
  return await backend.runExperts({ inputs, shape, onProgress: undefined });
}

/** Computes σ(x · gate) of each token: [T, 1], f32. */
async function gateWeights(backend: LayerBackend, input: BackendTensor, weight: BackendTensor): Promise<BackendTensor> {
  const [tokens, depth] = input.shape as [number, number];
  const shape = { batch: 1, rows: tokens, depth, columns: 1 };
  using logits = await backend.steps.linear({ input, weight, bias: undefined, dtype: "f32", shape });
  const gating = { logits, correctionBias: undefined, router: gateRouter, dtype: "f32", tokens } as const;
  const { routerIndices, routerWeights } = await backend.steps.route(gating);
  routerIndices[Symbol.dispose]();
  return routerWeights;
}

/** The sigmoid of a single logit, as a router's weight. */
const gateRouter = resolveRouter({ kind: "sigmoid", topK: 1, renormalize: false }, 1);
