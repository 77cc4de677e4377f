// A whole layer on a backend, as steps that the backend's ops and `experts` do. Nothing comes back to the host in between.
import type { Backend, BackendTensor } from "./backend.ts";
import type { ExpertsLayer, MoeLayer, MoeOptions, SharedExpert } from "./moe.ts";
import { expertsOptions, moeShape } from "./moe_shape.ts";

/** Runs a layer: the routed experts, then the shared one. */
export async function runMoe(
  backend: Backend,
  hidden: BackendTensor,
  layer: MoeLayer<BackendTensor>,
  options: MoeOptions = {},
): Promise<BackendTensor> {
  const { logitsDType, router: { topK, onInput } } = moeShape(hidden, layer, options);
  const { sharedExpert } = layer;
  using scope = new DisposableStack();
  const routed = scope.use(await runRouted());
  if (!sharedExpert) {
    scope.move();
    return routed;
  }
  const shared = scope.use(await runShared(backend, hidden, sharedExpert, options));
  return await backend.ops.sumRows(routed, 1, shared);

  async function runRouted(): Promise<BackendTensor> {
    const { weight, bias, options: router } = layer.router;
    using scope = new DisposableStack();
    const routing = await (async () => {
      using logits = await backend.ops.linear(hidden, weight, { bias, dtype: logitsDType });
      return await backend.ops.route(logits, router, { dtype: hidden.dtype, flat: onInput });
    })();
    const indices = scope.use(routing.routerIndices), weights = scope.use(routing.routerWeights);
    if (!routing.inputWeights) return await runExperts(backend, hidden, indices, weights, layer, options);
    // Each assignment is a token of its own, whose input is scaled.
    const inputWeights = scope.use(routing.inputWeights);
    const scaled = scope.use(await backend.ops.scaleRows(hidden, inputWeights));
    const rows = await runExperts(backend, scaled, indices, weights, layer, options);
    if (topK === 1) return rows;
    scope.use(rows);
    return await backend.ops.sumRows(rows, topK);
  }
}

/** The shared expert: the only one of a layer that every token goes to, with a sigmoid's weight or 1. */
async function runShared(
  backend: Backend,
  hidden: BackendTensor,
  shared: SharedExpert<BackendTensor>,
  { batchInvariant }: MoeOptions,
): Promise<BackendTensor> {
  using scope = new DisposableStack();
  const shape = [hidden.shape[0]!, 1];
  if (!shared.gate) {
    const indices = scope.use(await backend.ops.full("i32", shape, 0));
    const weights = scope.use(await backend.ops.full(hidden.dtype, shape, 1));
    return await runExperts(backend, hidden, indices, weights, shared, { batchInvariant });
  }
  const logits = scope.use(await backend.ops.linear(hidden, shared.gate));
  const sigmoid = { kind: "sigmoid", topK: 1, renormalize: false } as const;
  const routing = await backend.ops.route(logits, sigmoid, { dtype: hidden.dtype });
  const indices = scope.use(routing.routerIndices), weights = scope.use(routing.routerWeights);
  return await runExperts(backend, hidden, indices, weights, shared, { batchInvariant });
}

function runExperts(
  backend: Backend,
  hiddenStates: BackendTensor,
  routerIndices: BackendTensor,
  routingWeights: BackendTensor,
  layer: ExpertsLayer<BackendTensor>,
  options: MoeOptions,
): Promise<BackendTensor> {
  const { gateUpProj, gateUpProjBias, downProj, downProjBias } = layer;
  return backend.experts(
    { hiddenStates, routerIndices, routingWeights, gateUpProj, gateUpProjBias, downProj, downProjBias },
    { ...expertsOptions(layer), ...options },
  );
}
