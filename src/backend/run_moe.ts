// A whole layer on a backend, as steps that the backend's ops and `experts` do. Nothing comes back to the host in between.
import type { Backend, BackendTensor } from "./backend.ts";
import type { ExpertsInputs } from "../contract/experts.ts";
import type { ExpertsLayer, MoeLayer, MoeOptions, SharedExpert } from "../contract/moe.ts";
import { expertsOptions, moeShape } from "../contract/moe_shape.ts";

/** Runs a layer: first the shared expert, for the routed ones' sum begins its only rounding with that in it. */
export async function runMoe(
  backend: Backend,
  hidden: BackendTensor,
  layer: MoeLayer<BackendTensor>,
  options: MoeOptions = {},
): Promise<BackendTensor> {
  const { logitsDType } = moeShape(hidden, layer, options);
  const { weight, bias, options: router } = layer.router;
  using scope = new DisposableStack();
  const shared = layer.sharedExpert && await runShared(backend, hidden, layer.sharedExpert, options, scope);
  const routing = await (async () => {
    using logits = await backend.ops.linear(hidden, weight, { bias, dtype: logitsDType });
    return await backend.ops.route(logits, router);
  })();
  const assignments = {
    routerIndices: scope.use(routing.routerIndices),
    routingWeights: scope.use(routing.routerWeights),
    inputWeights: scope.use(routing.inputWeights),
  };
  return await runExperts(backend, { hiddenStates: hidden, ...assignments, ...shared }, layer, options);
}

/** The shared expert, the only one of a layer that every token goes to: its rows, and the sigmoid that weighs them. */
async function runShared(
  backend: Backend,
  hidden: BackendTensor,
  shared: SharedExpert<BackendTensor>,
  { batchInvariant }: MoeOptions,
  scope: DisposableStack,
): Promise<{ addend: BackendTensor; addendWeights?: BackendTensor }> {
  const addend = scope.use(await runRows());
  if (!shared.gate) return { addend };
  using logits = await backend.ops.linear(hidden, shared.gate, { dtype: "f32" });
  const { routerIndices, routerWeights } = await backend.ops.route(logits, gateRouter);
  routerIndices[Symbol.dispose]();
  return { addend, addendWeights: scope.use(routerWeights) };

  async function runRows(): Promise<BackendTensor> {
    const shape = [hidden.shape[0]!, 1];
    using routerIndices = await backend.ops.full("i32", shape, 0);
    using routingWeights = await backend.ops.full("f32", shape, 1);
    return await runExperts(backend, { hiddenStates: hidden, routerIndices, routingWeights }, shared, {
      batchInvariant,
    });
  }
}

/** The sigmoid of a single logit, as a router's weight. */
const gateRouter = { kind: "sigmoid", topK: 1, renormalize: false } as const;

function runExperts(
  backend: Backend,
  inputs: Omit<ExpertsInputs<BackendTensor>, WeightName>,
  layer: ExpertsLayer<BackendTensor>,
  options: MoeOptions,
): Promise<BackendTensor> {
  const { gateUpProj, gateUpProjBias, downProj, downProjBias } = layer;
  return backend.experts(
    { ...inputs, gateUpProj, gateUpProjBias, downProj, downProjBias },
    { ...expertsOptions(layer), ...options },
  );
}

type WeightName = "gateUpProj" | "gateUpProjBias" | "downProj" | "downProjBias";
