/**
 * Sweeps: many configurations one after the other, each a record, whatever becomes of it.
 *
 * @module
 */
import type { Backend, BackendName } from "../backend/backend.ts";
import { bench, type BenchOptions } from "./bench.ts";
import type { Provenance } from "./provenance.ts";
import { type BenchRecord, failedRecord, finishedRecord } from "./record.ts";
import { WorkerPool } from "../wasm/worker_pool.ts";
import type { Job } from "../workload/workload.ts";

/** Where a configuration is to run. */
export interface PlaceRequest {
  readonly backend: BackendName | "auto";
  /** Which GPU. */
  readonly device?: number | undefined;
  /** CPU threads. */
  readonly threads?: number | undefined;
  /** Which BLAS the CPU is to use. */
  readonly blas?: string | undefined;
}

/** One point of a sweep. */
export interface Configuration {
  readonly job: Job;
  readonly place: PlaceRequest;
  /** Why it cannot be run; then it is not. */
  readonly problem: string | null;
}

/** How a sweep is run. */
export interface SweepOptions {
  readonly provenance: Provenance;
  /** Opens a backend. The engine stays the caller's. */
  open(place: PlaceRequest, engine: WorkerPool): Promise<Backend>;
  /** Says how to measure there, or throws why a job cannot run there. */
  prepare(configuration: Configuration, backend: Backend): BenchOptions;
}

/** Runs a configuration where it belongs. A place stays open for the next that wants the same. */
export class Runner implements Disposable {
  readonly #options: SweepOptions;
  #open: { readonly key: string; readonly engine: WorkerPool; readonly backend: Backend } | undefined;

  constructor(options: SweepOptions) {
    this.#options = options;
  }

  /**
   * Runs one configuration.
   *
   * @returns Its record.
   * @throws {Error} Whatever keeps it from running.
   */
  async run(configuration: Configuration): Promise<BenchRecord> {
    const { engine, backend } = await this.open(configuration.place);
    const options = this.#options.prepare(configuration, backend);
    try {
      const result = await bench(configuration.job, backend, engine, options);
      return finishedRecord(result, this.#options.provenance, backend.details);
    } catch (error) {
      this[Symbol.dispose](); // what a failure left of the place may not be fit for use
      throw error;
    }
  }

  /** Opens a place, unless it is open already. */
  async open(place: PlaceRequest): Promise<{ engine: WorkerPool; backend: Backend }> {
    const key = JSON.stringify([place.backend, place.device, place.threads, place.blas]);
    if (this.#open?.key === key) return this.#open;
    this[Symbol.dispose]();
    using cleanup = new DisposableStack();
    const engine = cleanup.use(new WorkerPool(place.threads));
    const backend = await this.#options.open(place, engine);
    cleanup.move();
    this.#open = { key, engine, backend };
    return this.#open;
  }

  /** Closes the place that is open. */
  [Symbol.dispose](): void {
    this.#open?.backend[Symbol.dispose]();
    this.#open?.engine[Symbol.dispose]();
    this.#open = undefined;
  }
}

/** Runs configurations one by one. One that cannot be run, or fails, becomes a record that says why. */
export async function* sweep(
  configurations: Iterable<Configuration>,
  runner: Runner,
  provenance: Provenance,
): AsyncGenerator<BenchRecord> {
  for (const configuration of configurations) {
    const { job, place, problem } = configuration;
    const failed = (reason: string) =>
      failedRecord(
        job,
        { backend: place.backend, device: null, threads: place.threads ?? null },
        reason,
        provenance,
      );
    if (problem !== null) {
      yield failed(problem);
      continue;
    }
    let record: BenchRecord;
    try {
      record = await runner.run(configuration);
    } catch (error) {
      record = failed(error instanceof Error ? error.message : String(error));
    }
    yield record;
  }
}

/** Every combination of one value of each list; the last list's values lie next to each other. */
export function crossProduct(lists: Readonly<Record<string, readonly unknown[]>>): Record<string, unknown>[] {
  let combinations: Record<string, unknown>[] = [{}];
  for (const [name, values] of Object.entries(lists)) {
    combinations = combinations.flatMap((combination) => values.map((value) => ({ ...combination, [name]: value })));
  }
  return combinations;
}
