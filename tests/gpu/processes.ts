// Other programs, and the tool itself as its users start it.

/** Whether there is such a program. */
export async function found(program: string): Promise<boolean> {
  try {
    return (await new Deno.Command(program, { args: ["--version"], stdout: "null", stderr: "null" }).output()).success;
  } catch {
    return false;
  }
}

/** Runs a program; what it says on standard error is passed on. */
export async function run(program: string, ...args: string[]): Promise<{ code: number; stdout: string }> {
  const { code, stdout } = await new Deno.Command(program, { args, cwd: root, stderr: "inherit" }).output();
  return { code, stdout: new TextDecoder().decode(stdout) };
}

const root = new URL("../..", import.meta.url);

/** The arguments that start the tool with Deno. */
export function toolArguments(...args: string[]): string[] {
  return ["run", "--no-prompt", "--allow-ffi", "--allow-sys", new URL("cli.ts", root).pathname, ...args];
}

/** Runs the tool and returns what it printed. Exit code 1 is an answer; any other but 0 is not. */
export async function yamoe(...args: string[]): Promise<string> {
  const { code, stdout } = await run(Deno.execPath(), ...toolArguments(...args));
  if (code > 1) throw new Error(`yamoe ${args.join(" ")} ended with ${code}`);
  return stdout;
}

/** The same, of a command that prints JSON. */
export async function yamoeJson<Result>(...args: string[]): Promise<Result> {
  return JSON.parse(await yamoe(...args, "--json")) as Result;
}
