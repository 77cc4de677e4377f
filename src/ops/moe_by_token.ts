import type { Backend } from "../backend/backend.ts";
import type { MoeLayer, MoeOptions } from "../contract/moe.ts";
import { layerWeights } from "../contract/resolve_moe.ts";
import { route } from "../routing/route.ts";
import { type Tensor, tensor } from "../tensor/tensor.ts";
import { experts } from "./experts.ts";

/**
 * Runs a layer whose experts are chosen by token id, and not by scores (DeepSeek-V4's first layers). The router still
 * computes the weights of the chosen experts.
 *
 * @param hidden [T, H].
 * @param layer The layer. Its router scores before the choice, and renormalizes.
 * @param chosen [T, K], i32: the experts of each token.
 * @param options The backend, and the options of the call.
 * @returns The output, [T, H].
 */
export async function moeByToken(
  hidden: Tensor,
  layer: MoeLayer,
  chosen: Tensor,
  { backend, batchInvariant, expertCapacity }: MoeOptions & { readonly backend: Backend },
): Promise<Tensor> {
  const [tokens, topK] = chosen.shape as [number, number];
  const logits = await logitsOf(hidden, layer, backend);
  const width = logits.shape[1]!;
  const own = Float32Array.from(chosen.data, (expert, at) => logits.data[Math.floor(at / topK) * width + expert]!);
  // With renormalization, weights among the chosen experts are those among all.
  const { routerIndices, routerWeights } = route(tensor(own, [tokens, topK]), { ...layer.router.options, topK });
  const order = Int32Array.from(routerIndices.data, (slot, at) => chosen.data[Math.floor(at / topK) * topK + slot]!);
  const addend = layer.sharedExpert && await sharedOutput(hidden, layer.sharedExpert, backend);
  return await experts({
    ...layerWeights(layer),
    hiddenStates: hidden,
    routerIndices: tensor(order, [tokens, topK]),
    routingWeights: routerWeights,
    addend,
  }, { ...computation(layer), backend, batchInvariant, expertCapacity });
}

async function logitsOf(hidden: Tensor, { router }: MoeLayer, backend: Backend): Promise<Tensor> {
  using x = backend.upload(hidden);
  using weight = backend.upload(router.weight);
  using logits = await backend.ops.linear(x, weight, { dtype: "f32" });
  return await backend.download(logits);
}

function sharedOutput(
  hidden: Tensor,
  shared: NonNullable<MoeLayer["sharedExpert"]>,
  backend: Backend,
): Promise<Tensor> {
  const tokens = hidden.shape[0]!;
  return experts({
    ...layerWeights(shared),
    hiddenStates: hidden,
    routerIndices: tensor(new Int32Array(tokens), [tokens, 1]),
    routingWeights: tensor(new Float32Array(tokens).fill(1), [tokens, 1]),
  }, { ...computation(shared), backend });
}

function computation(
  { activation, activationAlpha, activationLimit, gated, gateUpLayout, weightLayout }:
    | MoeLayer
    | NonNullable<
      MoeLayer["sharedExpert"]
    >,
) {
  return { activation, activationAlpha, activationLimit, gated, gateUpLayout, weightLayout };
}
