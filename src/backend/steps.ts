// The interface that each backend implements: the steps of a layer, for resolved calls. Only the owner of a tensor is checked.
import type { BackendOps, BackendRouting, BinCounts, Sorted } from "../contract/ops.ts";
import {
  type BinsCall,
  type FullCall,
  type GatherCall,
  type LinearCall,
  type MatmulCall,
  resolveBatchedMatmul,
  resolveBins,
  resolveFull,
  resolveGather,
  resolveIndexSelect,
  resolveLinear,
  resolveRoute,
  resolveScatter,
  type RouteCall,
  type ScatterCall,
  type SelectCall,
} from "../contract/resolve_ops.ts";
import type { BackendTensor } from "../tensor/backend_tensor.ts";

/** The steps of a layer. Each takes a call that was resolved by the function of `contract/resolve_ops.ts` for it. */
export interface BackendSteps<T extends BackendTensor = BackendTensor> {
  full(call: FullCall): Promise<T>;
  linear(call: LinearCall<BackendTensor>): Promise<T>;
  route(call: RouteCall<BackendTensor>): Promise<BackendRouting>;
  sort(call: BinsCall<BackendTensor>): Promise<Sorted<T>>;
  bincountCumsum(call: BinsCall<BackendTensor>): Promise<BinCounts<T>>;
  indexSelect(call: SelectCall<BackendTensor>): Promise<T>;
  gather(call: GatherCall<BackendTensor>): Promise<T>;
  scatter(call: ScatterCall<BackendTensor>): Promise<T>;
  batchedMatmul(call: MatmulCall<BackendTensor>): Promise<T>;
}

/** Makes the public ops of a backend: each resolves its call, which rejects what does not fit, and runs it. */
export function resolvedOps(steps: BackendSteps): BackendOps {
  return {
    full: async (...call) => await steps.full(resolveFull(...call)),
    linear: async (...call) => await steps.linear(resolveLinear(...call)),
    route: async (...call) => await steps.route(resolveRoute(...call)),
    sort: async (...call) => await steps.sort(resolveBins(...call)),
    bincountCumsum: async (...call) => await steps.bincountCumsum(resolveBins(...call)),
    indexSelect: async (...call) => await steps.indexSelect(resolveIndexSelect(...call)),
    gather: async (...call) => await steps.gather(resolveGather(...call)),
    scatter: async (...call) => await steps.scatter(resolveScatter(...call)),
    batchedMatmul: async (...call) => await steps.batchedMatmul(resolveBatchedMatmul(...call)),
  };
}
