// What the two ways of exchanging rows share.
import type { ExpertsCall } from "../contract/resolve_experts.ts";
import type { CudaTensor } from "../cuda/tensor.ts";
import { bytesPerElement } from "../tensor/tensor.ts";
import type { ExchangePlan, Part, readTable } from "./exchange_plan.ts";
import { partBytes, type RankGroup } from "./rank_group.ts";

/** A call, and where its temporary memory comes from. */
export interface ExchangeCall extends Pick<ExpertsCall<CudaTensor>, "inputs" | "shape"> {
  readonly group: RankGroup;
  /** Allocates memory that is freed at the end of the call. */
  allocate(bytes: number): bigint;
}

/** The assignments of this rank, sorted by expert. */
export interface SortedAssignments {
  /** The maximum number of rows. */
  readonly maximum: number;
  /** [T, K], i32: the row of each assignment, or -1. */
  readonly rows: bigint;
  /** [maximum], i32: the token of each row, or -1. */
  readonly rowTokens: bigint;
  /** [maximum], f32: the input weight of each row. */
  readonly rowScales: bigint | null;
  /** [E + 1], i32: the first row of each expert. */
  readonly rowOffsets: bigint;
  /** [ranks, width], i32: the numbers of all ranks. */
  readonly table: bigint;
  /** The number of integers for a rank in the table. */
  readonly width: number;
  /** Waits for the table. */
  readonly numbers: () => ReturnType<typeof readTable>;
}

/**
 * Sends the computed rows to the ranks that have their tokens.
 *
 * @param expertOutputs The computed rows.
 * @param returned [maximum, H]: where the rows of this rank's sorted assignments arrive.
 * @param beside Queues work that runs meanwhile.
 */
export function returnRows(
  { group, shape, allocate }: ExchangeCall,
  { own, others, order, computed }: ExchangePlan,
  expertOutputs: bigint,
  returned: bigint,
  beside: () => void = () => {},
): void {
  const { inner: { steps }, communicator, rank } = group;
  const bytes = shape.hidden * bytesPerElement(shape.dtype);
  const at = (pointer: bigint, row: number) => pointer + BigInt(row * bytes);
  const { start = 0, rows = 0 } = others[rank] ?? {}, end = start + rows; // of this rank's own tokens
  let packed = expertOutputs;
  let select: ((start: number, end: number, out: bigint) => void) | undefined;
  if (rows > 0 || order.some((row, i) => row !== i)) {
    const indices = allocate(order.byteLength);
    group.write(indices, order);
    select = (start, end, out) => {
      const sizes = { rows: end - start, sourceRows: computed, bytes };
      if (end > start) steps.selectRows(expertOutputs, indices + BigInt(4 * start), out, sizes);
    };
    packed = allocate(order.length * bytes);
    select(0, start, packed);
    select(end, order.length, at(packed, end));
  }
  const toOthers = (pointer: bigint, parts: readonly Part[]) =>
    partBytes(pointer, parts.map((part, r) => r === rank ? { ...part, rows: 0 } : part), bytes);
  group.beside(
    (stream) => communicator.exchange(toOthers(packed, others), toOthers(returned, own), stream),
    () => {
      select?.(start, end, at(returned, own[rank]?.start ?? 0));
      beside();
    },
  );
}
