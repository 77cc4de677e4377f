// Runs a whole layer on a backend, step by step. Nothing is copied to the host in between.
import type { Backend, BackendTensor } from "./backend.ts";
import type { ExpertsInputs } from "../contract/experts.ts";
import type { LatentSpace, SharedExpert } from "../contract/moe.ts";
import { layerWeights, mapLayer, type MoeCall } from "../contract/resolve_moe.ts";
import type { ResolvedExperts } from "../contract/resolve_experts.ts";
import { definedMembers } from "../known_names.ts";
import { resolveRouter } from "../routing/router.ts";
import { mapWeight } from "../tensor/packed_tensor.ts";

/** The part of a backend that runs a layer. */
type LayerBackend = Pick<Backend, "steps" | "runExperts">;

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
  call: MoeCall<BackendTensor>,
  run: Backend["runExperts"] = (call) => backend.runExperts(call),
): Promise<BackendTensor> {
  const { hidden, layer: { sharedExpert, latent }, shape: { shared } } = call;
  if (latent) return await runLatent(backend, call, latent, run);
  using scope = new DisposableStack();
  const addend = sharedExpert && shared && scope.use(await runShared(backend, hidden, sharedExpert, shared));
  const addendWeights = sharedExpert?.gate && scope.use(await gateWeights(backend, hidden, sharedExpert.gate));
  return await runRouted(backend, call, { hiddenStates: hidden, ...definedMembers({ addend, addendWeights }) }, run);
}

/** Runs a layer whose routed experts compute in a latent space. */
async function runLatent(
  backend: LayerBackend,
  call: MoeCall<BackendTensor>,
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
  { hidden, layer, shape: { router, logitsDType, routed }, onProgress }: MoeCall<BackendTensor>,
  rows: Pick<ExpertsInputs<BackendTensor>, "hiddenStates" | "addend" | "addendWeights">,
  run: Backend["runExperts"],
): Promise<BackendTensor> {
  const { weight, bias, options: { correctionBias } } = layer.router;
  const { tokens } = routed;
  using scope = new DisposableStack();
  const routing = await (async () => {
    const product = { batch: 1, rows: tokens, depth: hidden.shape[1]!, columns: routed.experts };
    using logits = await backend.steps.linear({ input: hidden, weight, bias, dtype: logitsDType, shape: product });
    return await backend.steps.route({ logits, correctionBias, router, dtype: "f32", tokens });
  })();
  const assignments = {
    routerIndices: scope.use(routing.routerIndices),
    routingWeights: scope.use(routing.routerWeights),
    inputWeights: scope.use(routing.inputWeights),
  };
  const inputs = { ...rows, ...assignments, ...layerWeights(layer) };
  return await run({ inputs, shape: routed, onProgress });
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
