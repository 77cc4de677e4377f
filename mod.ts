/**
 * Mixture-of-Experts kernels for Deno: route tokens, run their experts, and measure it.
 *
 * @example Route five tokens to two of four experts each, and run the experts
 * ```ts
 * import { experts, Generator, route, tensor } from "@yamoe/yamoe";
 * import { assertEquals } from "@std/assert";
 *
 * const random = new Generator(0);
 * const half = (shape: number[]) => tensor(Float16Array.from(random.randn(shape).data), shape);
 * const { routerIndices, routerWeights } = route(random.randn([5, 4]), 2);
 * const output = await experts({
 *   routerIndices,
 *   routingWeights: tensor(Float16Array.from(routerWeights.data), [5, 2]),
 *   hiddenStates: half([5, 16]),
 *   gateUpProj: half([4, 16, 64]),
 *   downProj: half([4, 32, 16]),
 * });
 * assertEquals(output.shape, [5, 16]);
 * ```
 *
 * @module
 */
import "./src/require_deno.ts";
export * from "./src/backend/backend.ts";
export { openBackend, type OpenBackendOptions } from "./src/open_backend.ts";
export { openParallel, type OpenParallelOptions } from "./src/parallel/open_parallel.ts";
export type { ExchangeMode, ParallelBackend } from "./src/parallel/parallel_backend.ts";
export type { Range } from "./src/parallel/exchange_plan.ts";
export type { ParallelCallOptions, ParallelExpertsOptions, ParallelMoeOptions } from "./src/parallel/resolve.ts";
export type { Placement } from "./src/world/launcher.ts";
export { RankLostError } from "./src/world/rank_lost_error.ts";
export { NcclError } from "./src/nccl/error.ts";
export { BackendUnavailableError } from "./src/backend/unavailable_error.ts";
export { CudaError } from "./src/cuda/driver/error.ts";
export type {
  Activation,
  DenseInputs,
  ExpertsComputation,
  ExpertsInputs,
  ExpertsOptions,
} from "./src/contract/experts.ts";
export { experts } from "./src/ops/experts.ts";
export {
  type ExpertsLayer,
  type LatentSpace,
  type MoeLayer,
  type MoeOptions,
  type MoeRouter,
  type RmsNorm,
  type SharedExpert,
} from "./src/contract/moe.ts";
export { moe } from "./src/ops/moe.ts";
export { openLayer, type OpenLayerOptions } from "./src/ops/open_layer.ts";
export { type PresetName, presets } from "./src/models/presets.ts";
export { summarize, type Summary } from "./src/statistics.ts";
export * as ops from "./src/ops/mod.ts";
export type {
  BackendOps,
  BackendRouting,
  BinCounts,
  GatherOptions,
  LinearOptions,
  OpOptions,
  RouteOptions,
  Sorted,
} from "./src/ops/mod.ts";
export { type RouterKind, type RouterOptions } from "./src/routing/router.ts";
export { route } from "./src/routing/route.ts";
export type { Routing } from "./src/routing/routing.ts";
export { denseWeights, keptAssignments, tokensPerExpert } from "./src/routing/assignments.ts";
export { SafetensorsError } from "./src/safetensors/error.ts";
export { type StoredDType, type StoredTensor } from "./src/safetensors/header.ts";
export { Safetensors } from "./src/safetensors/safetensors.ts";
export { encodeSafetensors, type NamedTensors, writeSafetensors } from "./src/safetensors/write.ts";
export { decode } from "./src/tensor/decode.ts";
export { packed, type PackedOptions } from "./src/tensor/packed.ts";
export type {
  Fp8Format,
  Int4Format,
  Mxfp4Format,
  Nvfp4Format,
  PackedDetails,
  PackedFormat,
  PackedParts,
  PackedSpec,
  PackedTensor,
} from "./src/tensor/packed_tensor.ts";
export { convert, type DType, type Tensor, tensor, type TensorData, zeros } from "./src/tensor/tensor.ts";
export { Generator } from "./src/torch/generator.ts";
