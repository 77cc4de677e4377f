import type { Graph } from "./stream.ts";

/** Graphs are kept for this many different calls. */
const capacity = 16;

/**
 * Graphs of calls that come again. A call is known by what its launches were given, pointers included, so a graph is right
 * whenever it is found. The first time costs nothing but the key; a graph is made the second time.
 */
export class GraphCache implements Disposable {
  readonly #graphs = new Map<string, Graph | undefined>();

  /** Runs a call: directly the first time, from then on as a graph. */
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
