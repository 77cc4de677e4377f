// The worker pool. Workers start from a blob: that needs no permission, works in a compiled binary, and needs no file. A
// task is a function that closes over nothing, so the blob contains its source. Functions that tasks share are an argument.
import { openBlas } from "./blas.ts";
import { type Context, createContext } from "./context.ts";
import { kernelModule } from "./module.ts";
import { experts } from "./tasks/experts.ts";
import { normals } from "./tasks/normals.ts";
import { type Parts, parts } from "./tasks/parts.ts";
import { products } from "./tasks/products.ts";
import { statistics } from "./tasks/statistics.ts";
import { stream } from "./tasks/stream.ts";
import { checkThreads } from "./threads.ts";

const tasks = { experts, products, normals, statistics, stream };

type Tasks = typeof tasks;
type Job<Name extends keyof Tasks> = Parameters<Tasks[Name]>[1];

/** The time after which idle workers end, in milliseconds. A worker keeps the program alive. */
const idleMilliseconds = 3000;

interface Reply {
  readonly run: number;
  readonly error?: { readonly message: string; readonly stack: string | undefined };
}

interface Run {
  left: number;
  resolve(): void;
  reject(error: Error): void;
}

/** The main function of a worker. */
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
    try {
      if (module) context = create(module, open);
      else tasks[task]!(context, job, parts);
      scope.postMessage({ run });
    } catch (error) {
      const stack = error instanceof Error ? error.stack : undefined;
      scope.postMessage({ run, error: { message: String(error), stack } });
    }
  };
}

/** The source of an object of functions. */
function sourceOf(functions: object): string {
  return `{ ${Object.entries(functions).map(([name, text]) => `${name}: ${text}`).join(",\n")} }`;
}

/**
 * A pool of workers, each with its own instance of the WebAssembly kernels. It needs no permission.
 *
 * The workers start at once. They end when the pool is disposed, when a task fails, or after a few idle seconds, so that a
 * pool that is not disposed does not keep the program alive. The next run starts new workers.
 */
export class WorkerPool implements Disposable {
  /** The number of workers. */
  readonly threads: number;
  #workers: Worker[] = [];
  readonly #runs = new Map<number, Run>();
  #lastRun = 0;
  #idle: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;

  /**
   * @param threads The number of workers. Defaults to the number of logical cores.
   * @throws {RangeError} If `threads` is not an integer from 1 to 1024.
   */
  constructor(threads: number = navigator.hardwareConcurrency) {
    checkThreads(threads);
    this.threads = threads;
    this.#start();
  }

  /**
   * Runs a task on every worker. Shared arrays of the job are shared with the workers; the rest is copied to each worker.
   *
   * @param task The name of the task.
   * @param job The argument of the task.
   * @param onTick Called ten times a second until the task ends. The first error that it throws rejects the run when
   * the workers have finished; it is not called again after that.
   * @returns A promise that resolves when every worker has finished.
   * @throws {Error} If the pool is closed, or the task fails on a worker. In that case all current runs fail, and the
   * workers end, because others may wait for the failed worker.
   */
  async run<Name extends keyof Tasks>(task: Name, job: Job<Name>, onTick?: () => void): Promise<void> {
    if (this.#isClosed) throw new Error("The worker pool is closed");
    if (this.#workers.length === 0) this.#start();
    let thrown: { readonly error: unknown } | undefined;
    const timer = onTick && setInterval(() => {
      try {
        onTick();
      } catch (error) {
        thrown = { error };
        clearInterval(timer);
      }
    }, 100);
    try {
      await this.#send({ task, job });
    } finally {
      clearInterval(timer);
    }
    if (thrown) throw thrown.error;
  }

  /** Sends a message to every worker. Resolves when all have replied. */
  #send(message: object): Promise<void> {
    clearTimeout(this.#idle);
    const run = ++this.#lastRun;
    return new Promise((resolve, reject) => {
      this.#runs.set(run, { left: this.threads, resolve, reject });
      for (const worker of this.#workers) worker.postMessage({ run, ...message });
    });
  }

  #start(): void {
    const source = `(${workerMain})(${createContext}, ${openBlas}, ${sourceOf(tasks)}, ${sourceOf(parts)});`;
    const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    for (let i = 0; i < this.threads; i++) {
      const worker = new Worker(url, { type: "module", name: `yamoe ${i}` });
      worker.onmessage = ({ data }: MessageEvent<Reply>) => this.#settle(data);
      worker.onerror = (event) => {
        event.preventDefault();
        if (this.#workers.includes(worker)) this.#fail(new Error(`A worker failed: ${event.message}`));
      };
      this.#workers.push(worker);
    }
    // If the workers cannot start, the run that waits for them fails with the same error.
    this.#send({ module: kernelModule() }).catch(() => {}).finally(() => URL.revokeObjectURL(url));
  }

  #settle({ run, error }: Reply): void {
    const entry = this.#runs.get(run);
    if (!entry) return;
    if (error) return this.#fail(new Error(`A worker failed: ${error.message}`, { cause: error.stack }));
    if (--entry.left > 0) return;
    this.#runs.delete(run);
    if (this.#runs.size === 0) this.#idle = setTimeout(() => this.#end(), idleMilliseconds);
    entry.resolve();
  }

  #fail(error: Error): void {
    this.#end();
    for (const { reject } of this.#runs.values()) reject(error);
    this.#runs.clear();
  }

  #end(): void {
    clearTimeout(this.#idle);
    for (const worker of this.#workers) worker.terminate();
    this.#workers = [];
  }

  /** Ends the workers and rejects the current runs. */
  [Symbol.dispose](): void {
    this.#isClosed = true;
    this.#fail(new Error("The backend or its worker pool was closed before the call ended"));
  }
}
