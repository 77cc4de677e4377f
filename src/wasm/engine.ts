// The worker pool. Workers start from a blob, which needs no permission, holds in a compiled binary, and leaves no file
// to find; a task is a function that closes over nothing, so its source can be put into that blob. What tasks have in common
// is handed to them.
import { openBlas } from "./blas.ts";
import { type Context, createContext } from "./context.ts";
import { kernelModule } from "./module.ts";
import { type Parts, parts } from "./tasks/parts.ts";
import { experts } from "./tasks/experts.ts";
import { normals } from "./tasks/normals.ts";
import { statistics } from "./tasks/statistics.ts";
import { stream } from "./tasks/stream.ts";

const tasks = { experts, normals, statistics, stream };

type Tasks = typeof tasks;
type Job<Name extends keyof Tasks> = Parameters<Tasks[Name]>[1];

interface Reply {
  readonly run: number;
  readonly error?: string;
}

/** Runs in each worker. */
function workerMain(
  create: typeof createContext,
  open: typeof openBlas,
  tasks: Record<string, (context: Context, job: unknown, parts: Parts) => void>,
  parts: Parts,
): void {
  const scope = self as unknown as {
    onmessage: (event: MessageEvent) => void;
    postMessage: (reply: Reply) => void;
  };
  let context: Context;
  scope.onmessage = ({ data: { module, run, task, job } }) => {
    if (module) {
      context = create(module, open);
      return scope.postMessage({ run });
    }
    try {
      tasks[task]!(context, job, parts);
      scope.postMessage({ run });
    } catch (error) {
      scope.postMessage({ run, error: error instanceof Error ? error.stack ?? error.message : String(error) });
    }
  };
}

/** The source of an object of functions. */
function sourceOf(functions: object): string {
  return `{ ${Object.entries(functions).map(([name, text]) => `${name}: ${text}`).join(",\n")} }`;
}

/** A pool of workers, each with its own instance of the WebAssembly kernels. Needs no permission. */
export class Engine implements Disposable {
  /** The number of workers. */
  readonly threads: number;
  readonly #workers: Worker[] = [];
  readonly #runs = new Map<number, { left: number; resolve: () => void; reject: (error: Error) => void }>();
  #lastRun = 0;
  #failure: Error | undefined;

  /**
   * @param threads The number of workers. Defaults to the number of logical cores.
   * @throws {RangeError} If `threads` is no integer from 1 to 1024.
   */
  constructor(threads: number = navigator.hardwareConcurrency) {
    if (!Number.isInteger(threads) || threads < 1 || threads > 1024) {
      throw new RangeError(`threads must be an integer from 1 to 1024, got ${threads}`);
    }
    this.threads = threads;
    const source = `(${workerMain})(${createContext}, ${openBlas}, ${sourceOf(tasks)}, ${sourceOf(parts)});`;
    const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    const module = kernelModule();
    this.#runs.set(0, {
      left: threads,
      resolve: () => URL.revokeObjectURL(url),
      reject: () => URL.revokeObjectURL(url),
    });
    for (let i = 0; i < threads; i++) {
      const worker = new Worker(url, { type: "module", name: `yamoe ${i}` });
      worker.onmessage = ({ data }: MessageEvent<Reply>) => this.#settle(data);
      worker.onerror = (event) => {
        event.preventDefault();
        this.#fail(new Error(`A worker failed: ${event.message}`));
      };
      worker.postMessage({ module, run: 0 });
      this.#workers.push(worker);
    }
  }

  /**
   * Runs a task on every worker. What the job's arrays share is shared; the rest is copied to each worker.
   *
   * @param task The task's name.
   * @param job What the task gets.
   * @param onTick Called ten times a second meanwhile.
   * @returns A promise that resolves when every worker has finished.
   * @throws {Error} If the engine is closed, or a worker fails. The engine is closed then: others may wait for that worker.
   */
  async run<Name extends keyof Tasks>(task: Name, job: Job<Name>, onTick?: () => void): Promise<void> {
    if (this.#failure) throw this.#failure;
    const run = ++this.#lastRun;
    const timer = onTick && setInterval(onTick, 100);
    try {
      await new Promise<void>((resolve, reject) => {
        this.#runs.set(run, { left: this.threads, resolve, reject });
        for (const worker of this.#workers) worker.postMessage({ run, task, job });
      });
    } finally {
      clearInterval(timer);
    }
  }

  #settle({ run, error }: Reply): void {
    if (error !== undefined) return this.#fail(new Error(`A worker failed: ${error}`));
    const entry = this.#runs.get(run);
    if (!entry || --entry.left > 0) return;
    this.#runs.delete(run);
    entry.resolve();
  }

  #fail(error: Error): void {
    if (this.#failure) return;
    this.#failure = error;
    for (const worker of this.#workers) worker.terminate();
    for (const { reject } of this.#runs.values()) reject(error);
    this.#runs.clear();
  }

  /** Ends the workers. Runs that are under way are rejected. */
  [Symbol.dispose](): void {
    this.#fail(new Error("The engine is closed"));
  }
}
