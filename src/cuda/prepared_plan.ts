// A plan that is ready to launch: the arguments are packed, and the workspace has its layout.
import { inputNames } from "../contract/experts_inputs.ts";
import type { Addresses } from "./driver/graph_cache.ts";
import type { Module } from "./driver/module.ts";
import type { Stream } from "./driver/stream.ts";
import type { Plan } from "./plan/experts.ts";
import { type LayerPlan, type LayerTensorName, routerTensors } from "./plan/layer.ts";
import type { QueuedKernel } from "./recording.ts";
import { partNames } from "./weight_pointers.ts";

/** Temporary tensors begin at multiples of this many bytes, as allocations do. */
const alignment = 256;

/** The tensors that have a pointer in each call, in the order of the pointers. The buffers of the workspace follow. */
const callTensors: readonly LayerTensorName[] = [...inputNames, ...partNames, ...routerTensors, "output"];

/** A kernel of a plan, ready to launch. */
export interface PreparedKernel extends QueuedKernel {
  /**
   * Queues the kernel.
   *
   * @param addresses The pointers of the inputs, of the parts of packed weights, of the router's tensors and of the output, then
   * those of the buffers of the workspace. The workspace replaces inputs of the same name.
   */
  readonly launch: (stream: Stream, addresses: Addresses) => void;
}

/** A plan with packed arguments. */
export class PreparedPlan {
  /** The kernels in their order. */
  readonly kernels: readonly PreparedKernel[];
  /** The sizes of the buffers that make up the workspace, in bytes. */
  readonly buffers: readonly number[];

  /**
   * Prepares a plan.
   *
   * @param counters The backend's {@linkcode CudaHost.counters}.
   * @param separate Whether each temporary tensor has a buffer of its own, so that a memory checker notices an access past
   * its end. One buffer for all is faster to allocate.
   */
  constructor({ workspace, launches }: Plan | LayerPlan, module: Module, counters: bigint, separate: boolean) {
    const used = Object.entries(workspace).filter(([, bytes]) => bytes > 0);
    let end = 0;
    const places = new Map(used.map(([name, bytes], i) => {
      const place = separate ? { buffer: i, offset: 0n } : { buffer: 0, offset: BigInt(end) };
      end += Math.ceil(bytes / alignment) * alignment;
      return [name, place];
    }));
    this.buffers = separate ? used.map(([, bytes]) => bytes) : [end];

    const addressOf = (name: LayerTensorName) => {
      if (name === "counters") return () => counters;
      const place = places.get(name);
      const index = place ? callTensors.length + place.buffer : callTensors.indexOf(name);
      return (addresses: Addresses) => place ? (addresses[index] ?? 0n) + place.offset : addresses[index] ?? null;
    };
    this.kernels = launches.map((launch) => {
      const { kernel, flops, bytes, experts } = launch;
      return { kernel, flops, bytes, experts, launch: module.prepare(launch, addressOf) };
    });
  }

  /** Queues all kernels; see {@linkcode PreparedKernel.launch}. */
  launch(stream: Stream, addresses: Addresses): void {
    for (const { launch } of this.kernels) launch(stream, addresses);
  }
}
