// The steps of a layer that no kernel computes: the host computes them from copies.
import type { BackendRouting } from "../contract/ops.ts";
import type { RmsNorm } from "../contract/moe.ts";
import { routeTokens } from "../routing/route_tokens.ts";
import type { Router } from "../routing/router.ts";
import { convert, type DType, type Tensor, zeros } from "../tensor/tensor.ts";
import type { Backend, BackendTensor } from "./backend.ts";

/** The part of a backend that copies. */
type Copies = Pick<Backend, "upload" | "download">;

/** What decides the routing besides the router's rule. All tensors are on the host. */
export interface HostRouting {
  readonly correctionBias: Tensor | undefined;
  /** [T, K], i32: the experts of each token, if something else than the scores has chosen them. */
  readonly chosen: Tensor | undefined;
  readonly logitCap: number | undefined;
  /** [E], f32. */
  readonly expertScale: Tensor | undefined;
}

/** Routes tokens. The result is that of the step `route`, with what its kernels do not compute. */
export async function routeOnHost(
  backend: Copies,
  logits: BackendTensor,
  router: Router,
  { correctionBias, chosen, logitCap, expertScale }: HostRouting,
): Promise<BackendRouting> {
  const copy = convert(await backend.download(logits), "f32");
  if (logitCap) copy.data.forEach((value, i) => copy.data[i] = logitCap * Math.tanh(value / logitCap));
  const { routerIndices, ...routing } = routeTokens(copy, router, correctionBias, chosen);
  if (expertScale) {
    const { data } = routing.inputWeights ?? routing.routerWeights;
    routerIndices.data.forEach((expert, i) => data[i] = data[i]! * expertScale.data[expert]!);
  }
  using scope = new DisposableStack();
  const upload = (tensor: Tensor) => scope.use(backend.upload(tensor));
  const uploaded = {
    routerIndices: upload(routerIndices),
    routerWeights: upload(routing.routerWeights),
    inputWeights: routing.inputWeights && upload(routing.inputWeights),
  };
  scope.move();
  return uploaded;
}

/** Normalizes rows, in double precision, and rounds them to a dtype. */
export async function normalize(
  backend: Copies,
  input: BackendTensor,
  { weight, epsilon }: RmsNorm,
  dtype: DType,
): Promise<BackendTensor> {
  const { data } = convert(await backend.download(input), "f32");
  const normalized = zeros("f32", input.shape), width = weight.data.length;
  for (let start = 0; start < data.length; start += width) {
    let squares = 0;
    for (let i = 0; i < width; i++) squares += data[start + i]! ** 2;
    const factor = 1 / Math.sqrt(squares / width + epsilon);
    for (let i = 0; i < width; i++) normalized.data[start + i] = data[start + i]! * factor * weight.data[i]!;
  }
  return backend.upload(convert(normalized, dtype));
}
