// Runs the tool as a user does.

/** What a process left. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The entry's path. */
export const cli: string = new URL("../../cli.ts", import.meta.url).pathname;

/** Runs the tool with the permissions given, by default none, and with more variables. */
export async function yamoe(
  args: readonly string[],
  permissions: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<Outcome> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", ...permissions, cli, ...args],
    env: { NO_COLOR: "1", ...env },
  }).output();
  return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}

/** A command line's words. */
export function words(line: string): string[] {
  return line.split(" ");
}
