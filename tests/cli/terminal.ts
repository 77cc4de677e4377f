// Runs the tool in a pseudo-terminal, as a user at a terminal does.
import { cli } from "./yamoe.ts";

/** What a process in a pseudo-terminal did. */
export interface TerminalOutcome {
  /** The exit code; null if the process was killed because it took too long. */
  readonly code: number | null;
  /** Everything that the terminal showed, escape sequences included. */
  readonly output: string;
  /** The permissions that Deno asked for. */
  readonly prompts: readonly string[];
}

/** Whether pseudo-terminals can be tested, which needs python3. */
export const hasTerminal: boolean = (() => {
  try {
    return new Deno.Command("python3", { args: ["-c", "import pty"], stdout: "null", stderr: "null" }).outputSync()
      .success;
  } catch {
    return false; // not installed, or on Windows
  }
})();

/**
 * Runs the tool in a terminal.
 *
 * @param args The tool's arguments.
 * @param permissions The flags for Deno.
 */
export async function yamoeInTerminal(
  args: readonly string[],
  permissions: readonly string[],
  { columns = 80, seconds = 60, ...options }: { columns?: number; seconds?: number } & Deno.CommandOptions = {},
): Promise<TerminalOutcome> {
  const helper = new URL("./terminal.py", import.meta.url).pathname;
  const program = [Deno.execPath(), "run", ...permissions, cli, ...args];
  const { success, stdout, stderr } = await new Deno.Command("python3", {
    ...options,
    args: [helper, `${columns}`, `${seconds}`, ...program],
  }).output();
  if (!success) throw new Error(`terminal.py failed: ${new TextDecoder().decode(stderr)}`);
  return JSON.parse(new TextDecoder().decode(stdout)) as TerminalOutcome;
}
