// Signals that arrive while the main thread is blocked in a call of the GPU driver.
import { driverPaths } from "../cuda/driver/library.ts";

/** The time that the main thread has to handle a signal itself, in milliseconds. */
const grace = 1000;

/** A signal, and the exit code of the process that it ends. */
export type EndingSignal = readonly [signal: Deno.Signal, code: number];

/**
 * Ends the process if a signal arrives while the main thread is blocked. Signal listeners of the main thread cannot run then, so
 * a worker listens too. It does nothing if the main thread handles the signal within a second.
 *
 * @param signals The signals that end the process.
 * @param tail What completes the data on standard output.
 * @returns A function that the main thread calls when it handles a signal itself.
 */
export function endWhenBlocked(signals: readonly EndingSignal[], tail = ""): () => void {
  const handled = new Int32Array(new SharedArrayBuffer(4));
  const library = ["libc.so.6", ...driverPaths()].find((path) =>
    Deno.build.os === "linux" && Deno.permissions.querySync({ name: "ffi", path }).state === "granted"
  );
  if (library !== undefined) {
    const source = new Blob([`(${watch})(${JSON.stringify({ signals, tail, library, grace })});`], {
      type: "text/javascript",
    });
    new Worker(URL.createObjectURL(source), { type: "module", name: "yamoe signals" }).postMessage(handled);
  }
  return () => Atomics.store(handled, 0, 1);
}

interface Settings {
  readonly signals: readonly EndingSignal[];
  readonly tail: string;
  readonly library: string;
  readonly grace: number;
}

/** The worker's source. It must not use anything outside. */
function watch({ signals, tail, library, grace }: Settings): void {
  // A worker's Deno.exit ends only the worker. libc's _exit ends the process.
  const { symbols } = Deno.dlopen(library, { _exit: { parameters: ["i32"], result: "void" } });
  let handled = new Int32Array(1);
  addEventListener("message", (event) => {
    if (event instanceof MessageEvent) handled = event.data;
  });
  for (const [signal, code] of signals) {
    Deno.addSignalListener(signal, () => {
      setTimeout(() => {
        if (Atomics.load(handled, 0) !== 0) return;
        try {
          Deno.stdout.writeSync(new TextEncoder().encode(tail));
        } finally {
          symbols._exit(code);
        }
      }, grace);
    });
  }
}
