// Plans a whole layer: its router, then its experts.
import type { MoeLayer } from "../../contract/moe.ts";
import type { ResolvedMoe } from "../../contract/resolve_moe.ts";
import { bytesPerElement, type DType } from "../../tensor/tensor.ts";
import type { KernelLaunch } from "../driver/kernel.ts";
import type { KernelRecord } from "../images/manifest_types.ts";
import { type Plan, planLaunches, type PlannedLaunch, type TensorName, type WorkspaceName } from "./experts.ts";
import type { PlanDevice } from "./product.ts";
import { planLinear, planRoute } from "./router.ts";

/** The tensors of the router that have a pointer in each call. */
export const routerTensors = ["routerWeight", "routerBias", "correctionBias"] as const;

/** The temporary tensors of the router. */
export type RouterWorkspaceName =
  | "logits" //         [T, E]; stored in the output if it is large enough
  | "routerIndices" //  [T, K], i32
  | "routingWeights" // [T, K], f32
  | "inputWeights"; //  [T, K], f32, if the router weighs the experts' input

/** The tensors that the kernels of a layer read and write. */
export type LayerTensorName = TensorName | RouterWorkspaceName | typeof routerTensors[number];

/** The launches of a layer and the memory they use; see {@linkcode Plan}. */
export interface LayerPlan {
  readonly launches: readonly PlannedLaunch<LayerTensorName>[];
  readonly workspace: Readonly<Record<WorkspaceName | RouterWorkspaceName, number>>;
}

/** Whether {@linkcode planLayer} plans a layer: it consists of a router and experts only, and the host computes nothing. */
export function isPlannable({ sharedExpert, latent, norm, router }: MoeLayer<unknown, unknown>): boolean {
  const { tokenTable, logitCap, norm: routerNorm, expertScale } = router;
  return [sharedExpert, latent, norm, tokenTable, logitCap, routerNorm, expertScale].every((part) =>
    part === undefined
  );
}

/**
 * Plans a layer; see {@linkcode planLaunches}.
 *
 * @throws {RangeError} If the layer is too large for the kernels' 32-bit indices.
 */
export function planLayer(
  { hidden, router, routerDType, logitsDType, routed }: ResolvedMoe,
  device: PlanDevice,
  kernels: readonly KernelRecord[],
  tileRows?: number,
): LayerPlan {
  const { tokens, experts, topK, dtype, hasInputWeights } = routed;
  const { launches, workspace }: Plan = planLaunches(routed, device, kernels, tileRows);
  const logitBytes = tokens * experts * bytesPerElement(logitsDType);
  const logitsInOutput = logitBytes <= tokens * hidden * bytesPerElement(dtype);
  const operand = (pointer: LayerTensorName, dtype: DType) => ({ pointer, dtype });
  const logits = operand(logitsInOutput ? "output" : "logits", logitsDType);
  const linear = planLinear<LayerTensorName>(
    { batch: 1, rows: tokens, depth: hidden, columns: experts },
    operand("hiddenStates", dtype),
    operand("routerWeight", routerDType),
    { pointer: "routerBias" },
    logits,
    kernels,
    device.multiprocessors,
  );
  const targets = {
    routerIndices: operand("routerIndices", "i32"),
    routerWeights: operand("routingWeights", "f32"),
    inputWeights: hasInputWeights ? operand("inputWeights", "f32") : undefined,
  };
  const correctionBias = { pointer: "correctionBias" } as const;
  const route = planRoute<LayerTensorName>(tokens, router, logits, correctionBias, targets, device.multiprocessors);
  const choiceBytes = tokens * topK * 4;
  const routerWorkspace = {
    logits: logitsInOutput ? 0 : logitBytes,
    routerIndices: choiceBytes,
    routingWeights: choiceBytes,
    inputWeights: hasInputWeights ? choiceBytes : 0,
  };
  const work = (launch: KernelLaunch<LayerTensorName>, flops: number, bytes: number) => ({ ...launch, flops, bytes });
  return {
    launches: [
      work(
        linear,
        2 * tokens * hidden * experts,
        tokens * hidden * bytesPerElement(dtype) + experts * hidden * bytesPerElement(routerDType) + logitBytes,
      ),
      work(route, 0, logitBytes + 2 * choiceBytes + routerWorkspace.inputWeights),
      ...launches,
    ],
    workspace: { ...workspace, ...routerWorkspace },
  };
}
