import type { Graph } from "./stream.ts";

/** The maximum number of different calls whose graphs are kept. */
const capacity = 16;

/**
 * Graphs of repeated calls. The key of a call contains all arguments of its launches, pointers included, so a graph with the same
 * key is always right. The first call only stores the key; the second captures a graph.
 */
export class GraphCache implements Disposable {
  readonly #graphs = new Map<string, Graph | undefined>();

  /** Runs a call: directly the first time, later as a graph. */
  run(key: string, direct: () => void, capture: () => Graph): void {
    const known = this.#graphs.has(key);
    const graph = this.#graphs.get(key) ?? (known ? capture() : undefined);
    this.#graphs.delete(key); // the newest last
    this.#graphs.set(key, graph);
    if (this.#graphs.size > capacity) this.#evict();
    if (graph) graph.launch();
    else direct();
  }

  #evict(): void {
    const [oldest] = this.#graphs.keys();
    const graph = this.#graphs.get(oldest!);
    this.#graphs.delete(oldest!);
    graph?.[Symbol.dispose]();
  }

  /** Destroys all graphs. */
  [Symbol.dispose](): void {
    using graphs = new DisposableStack();
    for (const graph of this.#graphs.values()) graphs.use(graph);
    this.#graphs.clear();
  }
}
