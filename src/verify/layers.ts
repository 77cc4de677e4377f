// Checks every router kind, and whole layers, against float64.
import type { Backend } from "../backend/backend.ts";
import type { MoeLayer } from "../contract/moe.ts";
import { moe } from "../ops/moe.ts";
import { type RouterKind, type RouterOptions, routerRules } from "../routing/router.ts";
import { convert, type DType, type Tensor, tensor } from "../tensor/tensor.ts";
import { Generator } from "../torch/generator.ts";
import { boundedCheck, type Check, errorBounds, RelativeError } from "./check.ts";
import { referenceRouting } from "./router_reference.ts";
import { checkedDTypes, normals, referenceOutput } from "./variants.ts";

/** The largest relative error of a routing weight. Weights are f64, rounded to f32 once, and again after the scale. */
const weightBound = 2 ** -22;

/** Runs the checks. */
export async function* layerChecks(backend: Backend): AsyncGenerator<Check> {
  for (const kind of Object.keys(routerRules) as RouterKind[]) {
    const errors = [await routerError(backend, kind, 32, 4), await routerError(backend, kind, 256, 8)];
    yield boundedCheck(`router ${kind}`, Math.max(...errors), weightBound);
  }
  for (const dtype of checkedDTypes) {
    const error = new RelativeError();
    for (const kind of ["topk-softmax", "sigmoid-grouped"] as const) await runLayer(backend, kind, dtype, 3, error);
    yield boundedCheck(`${dtype} whole layers`, error.value, errorBounds[dtype]);
    const onInput = new RelativeError();
    for (const topK of [1, 2]) await runLayer(backend, "sigmoid-input", dtype, topK, onInput);
    yield boundedCheck(`${dtype} scaled inputs`, onInput.value, errorBounds[dtype]);
  }
}

function routerOptions(kind: RouterKind, experts: number, topK: number, random: Generator): RouterOptions {
  const { before, groupScores } = routerRules[kind];
  const isCorrected = before !== "none" && before !== "softmax";
  return {
    kind,
    topK,
    scale: 2.5,
    ...isCorrected && { correctionBias: random.randn([experts]) },
    ...groupScores > 0 && { groups: 4, topGroups: 2 },
  };
}

/** Returns the largest relative error of a routing weight, or infinity if a different expert was chosen. */
async function routerError(backend: Backend, kind: RouterKind, experts: number, topK: number): Promise<number> {
  const random = new Generator(experts), tokens = 64;
  const options = routerOptions(kind, experts, topK, random);
  const logits = random.randn([tokens, experts]);
  using scope = new DisposableStack();
  const { correctionBias, ...rest } = options;
  const routing = await backend.ops.route(scope.use(backend.upload(logits)), {
    ...rest,
    ...correctionBias && { correctionBias: scope.use(backend.upload(correctionBias)) },
  });
  const [indices, outputWeights, inputWeights] = [routing.routerIndices, routing.routerWeights, routing.inputWeights]
    .map((result) => result && scope.use(result));
  const found = (await backend.download(indices!)).data;
  const weights = (await backend.download(inputWeights ?? outputWeights!)).data;
  let worst = 0;
  for (let t = 0; t < tokens; t++) {
    const expected = referenceRouting([...logits.data.subarray(t * experts, (t + 1) * experts)], options);
    for (let k = 0; k < topK; k++) {
      const at = t * topK + k, weight = expected.weights[k]!;
      if (found[at] !== expected.experts[k]) return Infinity;
      worst = Math.max(worst, Math.abs(weights[at]! - weight) / weight); // Math.max keeps NaN
    }
  }
  return worst;
}

/** Runs a layer with a shared expert. The shared expert has a gate unless the router scales the input. */
async function runLayer(
  backend: Backend,
  kind: RouterKind,
  dtype: DType,
  topK: number,
  error: RelativeError,
): Promise<void> {
  const random = new Generator(topK), normal = normals(random, dtype);
  const [tokens, hidden, experts] = [96, 96, 16];
  const { onInput } = routerRules[kind];
  const weights = (experts: number, intermediate: number) => ({
    activation: "silu" as const,
    gateUpProj: normal([experts, hidden, 2 * intermediate], 1.5 / Math.sqrt(hidden)),
    downProj: normal([experts, intermediate, hidden], 1 / Math.sqrt(intermediate)),
  });
  const layer: MoeLayer<Tensor, Tensor> = {
    ...weights(experts, 64),
    router: { weight: normal([experts, hidden], 0.2), options: routerOptions(kind, experts, topK, random) },
    sharedExpert: { ...weights(1, 32), gate: onInput ? undefined : normal([1, hidden], 0.2) },
  };
  const input = normal([tokens, hidden], 1);
  error.add(await moe(input, layer, { backend }), referenceLayer(input, layer));
}

/** Computes a layer's output in float64. Only the routing weights are f32. */
function referenceLayer(hiddenStates: Tensor, layer: MoeLayer<Tensor, Tensor>): Float64Array {
  const { router, sharedExpert, activation, gateUpProj, downProj } = layer;
  const tokens = hiddenStates.shape[0]!, { topK } = router.options;
  const { onInput } = routerRules[router.options.kind!];
  const routed = product(hiddenStates, router.weight).map((logits) => referenceRouting(logits, router.options));
  const weights = tensor(Float32Array.from(routed.flatMap(({ weights }) => weights)), [tokens, topK]);
  const ones = (columns: number) => tensor(new Float32Array(tokens * columns).fill(1), [tokens, columns]);
  const output = referenceOutput({
    ...{ hiddenStates, gateUpProj, downProj },
    routerIndices: tensor(Int32Array.from(routed.flatMap(({ experts }) => experts)), [tokens, topK]),
    routingWeights: onInput ? ones(topK) : weights,
    inputWeights: onInput ? weights : undefined,
  }, { activation });
  const { gate } = sharedExpert!;
  const shared = referenceOutput({
    ...{ hiddenStates, gateUpProj: sharedExpert!.gateUpProj, downProj: sharedExpert!.downProj },
    routerIndices: tensor(new Int32Array(tokens), [tokens, 1]),
    routingWeights: gate
      ? tensor(Float32Array.from(product(hiddenStates, gate), ([x]) => 1 / (1 + Math.exp(-x!))), [tokens, 1])
      : ones(1),
  }, { activation });
  return output.map((value, i) => value + shared[i]!);
}

/** Multiplies [T, D] by the transpose of [N, D]. */
function product(input: Tensor, weight: Tensor): number[][] {
  const [x, w] = [input, weight].map((tensor) => convert(tensor, "f32").data);
  const [tokens, depth] = input.shape as [number, number];
  return Array.from({ length: tokens }, (_, t) =>
    Array.from({ length: weight.shape[0]! }, (_, n) => {
      let sum = 0;
      for (let k = 0; k < depth; k++) sum += x![t * depth + k]! * w![n * depth + k]!;
      return sum;
    }));
}
