// Runs a whole layer on a backend, step by step. Nothing is copied to the host in between.
import type { Backend, BackendTensor } from "./backend.ts";
import type { SharedExpert } from "../contract/moe.ts";
import { layerWeights, mapLayer, type MoeCall } from "../contract/resolve_moe.ts";
import type { ResolvedExperts } from "../contract/resolve_experts.ts";
import { resolveRouter } from "../routing/router.ts";
import { mapWeight } from "../tensor/packed_tensor.ts";

/** The part of a backend that runs a layer. */
type LayerBackend = Pick<Backend, "steps" | "runExperts">;

/**
 * Runs a layer. The shared expert is first, because its output is added to the routed experts' sum before that is rounded.
 *
 * @param backend Runs the steps, and the shared expert.
 * @param call The layer and its input.
 * @param runRouted Runs the routed experts. Defaults to the backend.
 */
export async function runMoe(
  backend: LayerBackend,
  { hidden, layer, shape: { router, logitsDType, routed, shared }, onProgress }: MoeCall<BackendTensor>,
  runRouted: Backend["runExperts"] = (call) => backend.runExperts(call),
): Promise<BackendTensor> {
  const { weight, bias, options: { correctionBias } } = layer.router;
  const { tokens } = routed;
  using scope = new DisposableStack();
  const sharedRows = layer.sharedExpert && shared &&
    await runShared(backend, hidden, layer.sharedExpert, shared, scope);
  const routing = await (async () => {
    const product = { batch: 1, rows: tokens, depth: routed.hidden, columns: routed.experts };
    using logits = await backend.steps.linear({ input: hidden, weight, bias, dtype: logitsDType, shape: product });
    return await backend.steps.route({ logits, correctionBias, router, dtype: "f32", tokens });
  })();
  const assignments = {
    routerIndices: scope.use(routing.routerIndices),
    routingWeights: scope.use(routing.routerWeights),
    inputWeights: scope.use(routing.inputWeights),
  };
  const inputs = { hiddenStates: hidden, ...assignments, ...sharedRows, ...layerWeights(layer) };
  return await runRouted({ inputs, shape: routed, onProgress });
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

/** Runs the shared expert on every token: its rows, and the sigmoid that weighs them. */
async function runShared(
  backend: LayerBackend,
  hiddenStates: BackendTensor,
  layer: SharedExpert<BackendTensor>,
  shape: ResolvedExperts,
  scope: DisposableStack,
): Promise<{ addend: BackendTensor; addendWeights?: BackendTensor }> {
  const { tokens } = shape;
  const { steps } = backend;
  const addend = scope.use(await runRows());
  if (!layer.gate) return { addend };
  const product = { batch: 1, rows: tokens, depth: shape.hidden, columns: 1 };
  using logits = await steps.linear({
    ...{ input: hiddenStates, weight: layer.gate, bias: undefined, dtype: "f32", shape: product },
  });
  const gating = { logits, correctionBias: undefined, router: gateRouter, dtype: "f32", tokens } as const;
  const { routerIndices, routerWeights } = await steps.route(gating);
  routerIndices[Symbol.dispose]();
  return { addend, addendWeights: scope.use(routerWeights) };

  async function runRows(): Promise<BackendTensor> {
    using routerIndices = await steps.full({ dtype: "i32", shape: [tokens, 1], value: 0 });
    using routingWeights = await steps.full({ dtype: "f32", shape: [tokens, 1], value: 1 });
    const inputs = { hiddenStates, routerIndices, routingWeights, ...layerWeights(layer) };
    return await backend.runExperts({ inputs, shape, onProgress: undefined });
  }
}

/** The sigmoid of a single logit, as a router's weight. */
const gateRouter = resolveRouter({ kind: "sigmoid", topK: 1, renormalize: false }, 1);
