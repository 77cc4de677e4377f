// Runs the tool in a pseudo-terminal, as a user at a terminal does.
import { cli } from "./yamoe.ts";

/** What a process in a pseudo-terminal did. */
export interface TerminalOutcome {
  /** The exit code; null if the process was killed because it took too long. */
  readonly code: number | null;
  /** Everything that the terminal showed, without escape sequences. */
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

/** How a program runs in a terminal. */
export interface TerminalOptions extends Deno.CommandOptions {
  /** The width of the terminal. */
  readonly columns?: number;
  /** The time after which the program is killed. */
  readonly seconds?: number;
  /** The output after which the terminal is closed. */
  readonly hangUp?: string;
}

/** Runs a program in a terminal. */
export async function inTerminal(
  program: readonly string[],
  { columns = 80, seconds = 60, hangUp = "", ...options }: TerminalOptions = {},
): Promise<TerminalOutcome> {
  const helper = new URL("./terminal.py", import.meta.url).pathname;
  const { success, stdout, stderr } = await new Deno.Command("python3", {
    ...options,
    args: [helper, `${columns}`, `${seconds}`, hangUp, ...program],
  }).output();
  if (!success) throw new Error(`terminal.py failed: ${new TextDecoder().decode(stderr)}`);
  return JSON.parse(new TextDecoder().decode(stdout)) as TerminalOutcome;
}

/**
 * Runs the tool in a terminal.
 *
 * @param args The tool's arguments.
 * @param permissions The flags for Deno.
 */
export function yamoeInTerminal(
  args: readonly string[],
  permissions: readonly string[],
  options?: TerminalOptions,
): Promise<TerminalOutcome> {
  return inTerminal([Deno.execPath(), "run", ...permissions, cli, ...args], options);
}
