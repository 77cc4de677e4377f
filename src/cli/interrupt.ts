// What happens on Ctrl-C, and where the process is told to end.
import { exitCode } from "./command.ts";

/** Makes Ctrl-C finish what is to be kept and end the process, its workers with it. */
export function onInterrupt(finish: () => void): void {
  const end = (code: number) => () => {
    try {
      finish();
    } finally {
      Deno.exit(code);
    }
  };
  Deno.addSignalListener("SIGINT", end(exitCode.interrupted));
  if (Deno.build.os !== "windows") Deno.addSignalListener("SIGTERM", end(128 + 15));
}
