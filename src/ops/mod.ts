/**
 * The steps of a Mixture-of-Experts layer, one by one: sort the assignments by expert, count them, gather the tokens,
 * multiply, and scatter the results. Use them to build layers that {@linkcode experts} does not support, and to check it.
 *
 * @module
 */
export { experts } from "./experts.ts";
export { batchedMatmul } from "./batched_matmul.ts";
export { bincountCumsum } from "./bincount_cumsum.ts";
export type {
  BackendOps,
  BackendRouting,
  BinCounts,
  GatherOptions,
  LinearOptions,
  RouteOptions,
  Sorted,
} from "../contract/ops.ts";
export { gather } from "./gather.ts";
export type { OpOptions } from "./host.ts";
export { indexSelect } from "./index_select.ts";
export { scatter } from "./scatter.ts";
export { sort } from "./sort.ts";
