// Signals that end the process.
import { exitCode } from "./command.ts";
import { type EndingSignal, endWhenBlocked } from "./end_when_blocked.ts";

/** The signals that ask a process to end, with the exit codes that shells expect. Windows knows only the first. */
const signals: readonly EndingSignal[] = [
  ["SIGINT", exitCode.interrupted],
  ["SIGHUP", 128 + 1],
  ["SIGQUIT", 128 + 3],
  ["SIGTERM", 128 + 15],
];

/**
 * Calls `finish` and ends the process, with its workers, when a signal asks for it.
 *
 * @param finish Completes the outputs.
 * @param blocked What completes standard output if the main thread is blocked in a call of the GPU driver. Only for work on a GPU.
 */
export function onInterrupt(finish: () => void, blocked?: { readonly tail: string }): void {
  const known = Deno.build.os === "windows" ? signals.slice(0, 1) : signals;
  const handled = blocked && endWhenBlocked(known, blocked.tail);
  for (const [signal, code] of known) {
    Deno.addSignalListener(signal, () => {
      handled?.();
      try {
        finish();
      } finally {
        Deno.exit(code);
      }
    });
  }
}
