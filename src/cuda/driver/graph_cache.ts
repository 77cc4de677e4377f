import type { Graph } from "./stream.ts";

/** The maximum number of different calls whose graphs are kept: at least one call for each layer of a model. */
const capacity = 128;

/** The device pointers of a call, or null for absent tensors. */
export type Addresses = readonly (bigint | null)[];

interface Entry {
  readonly plan: object;
  readonly addresses: Addresses;
  graph: Graph | undefined;
}

/**
 * Graphs of repeated calls. A call's plan and its pointers determine all arguments of its launches, so a graph with the same
 * plan and pointers is always right. The first call only stores both; the second captures a graph.
 */
export class GraphCache implements Disposable {
  /** The newest first. */
  #entries: Entry[] = [];

  /** Runs a call: directly the first time, later as a graph. */
  run(plan: object, addresses: Addresses, direct: () => void, capture: () => Graph): void {
    const at = this.#entries.findIndex((entry) => entry.plan === plan && isEqual(entry.addresses, addresses));
    const entry = this.#entries[at];
    if (!entry) {
      direct();
      this.#entries.unshift({ plan, addresses, graph: undefined });
      if (this.#entries.length > capacity) this.#entries.pop()?.graph?.[Symbol.dispose]();
      return;
    }
    if (at > 0) {
      this.#entries.splice(at, 1);
      this.#entries.unshift(entry);
    }
    (entry.graph ??= capture()).launch();
  }

  /** Destroys all graphs. */
  [Symbol.dispose](): void {
    using graphs = new DisposableStack();
    for (const { graph } of this.#entries) graphs.use(graph);
    this.#entries = [];
  }
}

function isEqual(a: Addresses, b: Addresses): boolean {
  return a.length === b.length && a.every((address, i) => address === b[i]);
}
