/**
 * Sweeps: runs many configurations one after the other. Each becomes a record, whether it succeeds or fails.
 *
 * @module
 */
import type { Backend, BackendName } from "../backend/backend.ts";
import { bench, type BenchOptions } from "./bench.ts";
import type { Provenance } from "./provenance.ts";
import type { BenchRecord } from "./figures.ts";
import { firstError } from "./first_error.ts";
import type { ExchangeMode } from "../parallel/parallel_backend.ts";
import { failedRecord, type FinishedRecord, finishedRecord, type Place } from "./record.ts";
import { WorkerPool } from "../wasm/worker_pool.ts";
import type { Job } from "../workload/workload.ts";

/** Where a configuration should run. */
export interface PlaceRequest {
  readonly backend: BackendName | "auto";
  /** The GPU, counted from 0. */
  readonly device?: number | undefined;
  /** CPU threads. */
  readonly threads?: number | undefined;
  /** The BLAS library of the CPU. */
  readonly blas?: string | undefined;
  /** The number of GPUs that share the experts. */
  readonly gpus?: number | undefined;
  /** How rows travel between them. */
  readonly exchange?: ExchangeMode | undefined;
}

/** One point of a sweep. */
export interface Configuration {
  readonly job: Job;
  readonly place: PlaceRequest;
  /** Why the configuration cannot run; null if it can. */
  readonly problem: string | null;
}

/** Options of a {@linkcode Runner}. */
export interface SweepOptions {
  readonly provenance: Provenance;
  /** Opens a backend. The caller keeps the worker pool. */
  open(place: PlaceRequest, pool: WorkerPool): Promise<Backend>;
  /** Returns how to measure on the backend, or throws if the job cannot run there. */
  prepare(configuration: Configuration, backend: Backend): BenchOptions;
  /** Called with the backend and the error if a configuration fails, before the backend is closed. */
  onFailure?(backend: Backend, error: unknown): void;
}

/** Runs configurations. A place stays open until a configuration asks for another one. */
export class Runner implements Disposable {
  readonly #options: SweepOptions;
  #open: { readonly key: string; readonly pool: WorkerPool; readonly backend: Backend } | undefined;

  constructor(options: SweepOptions) {
    this.#options = options;
  }

  /**
   * Runs one configuration.
   *
   * @returns Its record.
   * @throws {Error} If the configuration cannot run.
   */
  async run(configuration: Configuration): Promise<FinishedRecord> {
    const { pool, backend } = await this.open(configuration.place);
    const options = this.#options.prepare(configuration, backend);
    try {
      const result = await bench(configuration.job, backend, pool, options);
      return finishedRecord(result, this.#options.provenance, backend.details);
    } catch (error) {
      this.#options.onFailure?.(backend, error);
      this.#abandon();
      throw firstError(error);
    }
  }

  /** Opens a place if it is not open yet. */
  async open(place: PlaceRequest): Promise<{ pool: WorkerPool; backend: Backend }> {
    const key = JSON.stringify([place.backend, place.device, place.threads, place.blas, place.gpus, place.exchange]);
    if (this.#open?.key === key) return this.#open;
    this.#abandon();
    using cleanup = new DisposableStack();
    const pool = cleanup.use(new WorkerPool(place.threads));
    const backend = await this.#options.open(place, pool);
    cleanup.move();
    this.#open = { key, pool, backend };
    return this.#open;
  }

  /** Closes the open place, which may be unusable after a failure. An error from closing it says nothing new. */
  #abandon(): void {
    try {
      this[Symbol.dispose]();
    } catch {
      // The first error is the one that is reported.
    }
  }

  /** Closes the open place. */
  [Symbol.dispose](): void {
    using places = new DisposableStack();
    places.use(this.#open?.pool);
    places.use(this.#open?.backend);
    this.#open = undefined;
  }
}

/** Runs configurations one by one. A configuration that fails or cannot run becomes a record with the reason. */
export async function* sweep(
  configurations: Iterable<Configuration>,
  runner: Pick<Runner, "run">,
  provenance: Provenance,
): AsyncGenerator<BenchRecord> {
  for (const configuration of configurations) {
    const { job, place, problem } = configuration;
    const failed = (reason: string) =>
      failedRecord(
        job,
        requestedPlace(place),
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
      const first = firstError(error);
      record = failed(first instanceof Error ? first.message : String(first));
    }
    yield record;
  }
}

/** Returns what a record says of the place of a configuration that did not run. */
export function requestedPlace({ backend, threads, gpus, exchange }: PlaceRequest): Place {
  return { backend, device: null, threads: threads ?? null, gpus: gpus ?? null, exchange: exchange ?? null };
}

/** Returns every combination of one value of each list. The values of the last list vary fastest. */
export function crossProduct(lists: Readonly<Record<string, readonly unknown[]>>): Record<string, unknown>[] {
  let combinations: Record<string, unknown>[] = [{}];
  for (const [name, values] of Object.entries(lists)) {
    combinations = combinations.flatMap((combination) => values.map((value) => ({ ...combination, [name]: value })));
  }
  return combinations;
}
