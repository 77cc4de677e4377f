/**
 * Routing: the experts of each token and their weights, from the logits of a router.
 *
 * @module
 */
import { checkTensor, floatDTypes, formatShape, type Tensor } from "../tensor/tensor.ts";
import { resolveRouter, type RouterOptions } from "./router.ts";
import type { Routing } from "./routing.ts";
import { routeTokens } from "./route_tokens.ts";

/**
 * Routes tokens: computes the scores of the experts, chooses K experts for each token, and computes their weights.
 *
 * Without a correction bias or groups, the choice compares the logits, whose order all scorings keep. With them, it compares
 * the scores in f32. Of equal values, the lower index comes first. As in PyTorch, NaN is larger than every number, so that it
 * reaches the weights. An infinite largest logit becomes NaN in a softmax, and reaches them too.
 *
 * @param logits [T, E], f16, bf16 or f32.
 * @param router The options of the router, or K for `{ kind: "softmax", topK: K }`.
 * @returns The experts of each token, the best first, and their weights.
 * @throws {TypeError} If the logits or an option are of a wrong type, or an option is unknown.
 * @throws {RangeError} If the logits are not a matrix, or an option is out of range or does not apply to the kind.
 *
 * @example The two most likely experts
 * ```ts
 * import { route, tensor } from "@yamoe/yamoe";
 * import { assertEquals } from "@std/assert";
 *
 * const logits = tensor(new Float32Array([0, 2, 1]), [1, 3]);
 * assertEquals([...route(logits, 2).routerIndices.data], [1, 2]);
 * ```
 *
 * @example A bias changes the choice, not the weights
 * ```ts
 * import { route, tensor } from "@yamoe/yamoe";
 * import { assertEquals } from "@std/assert";
 *
 * const logits = tensor(new Float32Array([0, 0, 0, 0]), [1, 4]);
 * const correctionBias = tensor(new Float32Array([0, 0.1, 0, 0.2]));
 * const routing = route(logits, { kind: "sigmoid", topK: 2, correctionBias, scale: 2.5 });
 * assertEquals([...routing.routerIndices.data], [3, 1]);
 * assertEquals([...routing.routerWeights.data], [1.25, 1.25]);
 * ```
 */
export function route(logits: Tensor, router: number | RouterOptions): Routing {
  checkTensor("logits", logits);
  if (!floatDTypes.includes(logits.dtype)) {
    throw new TypeError(`logits must be of dtype ${floatDTypes.join(", ")}, got ${logits.dtype}`);
  }
  if (logits.shape.length !== 2) {
    throw new RangeError(`logits must be a matrix, got shape ${formatShape(logits.shape)}`);
  }
  const [, experts = 0] = logits.shape;
  const options = typeof router === "number" ? { topK: router } : router;
  const rule = resolveRouter(options, experts);
  if (options.correctionBias) checkTensor("correctionBias", options.correctionBias);
  return routeTokens(logits, rule, options.correctionBias);
}
