// A plan that is ready to launch: the arguments are packed, and the workspace has its layout.
import { inputNames } from "../contract/experts_inputs.ts";
import type { Addresses } from "./driver/graph_cache.ts";
import type { Module } from "./driver/module.ts";
import type { Stream } from "./driver/stream.ts";
import type { Plan, TensorName, WorkspaceName } from "./plan/experts.ts";

/** Temporary tensors begin at multiples of this many bytes, as allocations do. */
const alignment = 256;

/** The tensors that have a pointer in each call, in the order of the pointers. The buffers of the workspace follow. */
export const callTensors: readonly TensorName[] = [...inputNames, "output"];

/** A plan with packed arguments. */
export class PreparedPlan {
  readonly plan: Plan;
  /** The sizes of the buffers that make up the workspace, in bytes. */
  readonly buffers: readonly number[];
  readonly #places: readonly (readonly [name: WorkspaceName, buffer: number, offset: bigint])[];
  readonly #launches: readonly ReturnType<typeof Module.prototype.prepare<TensorName>>[];

  /**
   * Prepares a plan.
   *
   * @param separate Whether each temporary tensor has a buffer of its own, so that a memory checker notices an access past
   * its end. One buffer for all is faster to allocate.
   */
  constructor(plan: Plan, module: Module, separate: boolean) {
    this.plan = plan;
    const used = Object.entries(plan.workspace).filter(([, bytes]) => bytes > 0) as [WorkspaceName, number][];
    const aligned = (bytes: number) => Math.ceil(bytes / alignment) * alignment;
    let end = 0;
    this.#places = used.map(([name, bytes], i) => {
      const place = separate ? [name, i, 0n] as const : [name, 0, BigInt(end)] as const;
      end += aligned(bytes);
      return place;
    });
    this.buffers = separate ? used.map(([, bytes]) => bytes) : [end];
    this.#launches = plan.launches.map((launch) => module.prepare<TensorName>(launch));
  }

  /** Queues one launch. `addresses` are the pointers of {@linkcode callTensors}, then those of the buffers. */
  launchOne(index: number, stream: Stream, addresses: Addresses): void {
    this.#launches[index]?.(stream, this.#pointers(addresses));
  }

  /** Queues all launches; see {@linkcode PreparedPlan.launchOne}. */
  launch(stream: Stream, addresses: Addresses): void {
    const pointers = this.#pointers(addresses);
    for (const launch of this.#launches) launch(stream, pointers);
  }

  #pointers(addresses: Addresses): Readonly<Record<TensorName, bigint | null>> {
    const pointers: Partial<Record<TensorName, bigint | null>> = {};
    for (const [i, name] of callTensors.entries()) pointers[name] = addresses[i] ?? null;
    for (const [name, buffer, offset] of this.#places) {
      pointers[name] = (addresses[callTensors.length + buffer] ?? 0n) + offset;
    }
    return pointers as Readonly<Record<TensorName, bigint | null>>;
  }
}
