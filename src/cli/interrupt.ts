// Signals that end the process.
import { exitCode } from "./command.ts";

/** The signals that ask a process to end, with the exit codes that shells expect. Windows knows only the first. */
const signals: readonly (readonly [signal: Deno.Signal, code: number])[] = [
  ["SIGINT", exitCode.interrupted],
  ["SIGHUP", 128 + 1],
  ["SIGQUIT", 128 + 3],
  ["SIGTERM", 128 + 15],
];

/** Calls `finish` and ends the process, with its workers, when a signal asks for it. */
export function onInterrupt(finish: () => void): void {
  for (const [signal, code] of Deno.build.os === "windows" ? signals.slice(0, 1) : signals) {
    Deno.addSignalListener(signal, () => {
      try {
        finish();
      } finally {
        Deno.exit(code);
      }
    });
  }
}
