// Runs other programs, and the tool itself as its users start it.

/** Returns whether a program is installed. */
export async function found(program: string): Promise<boolean> {
  try {
    return (await new Deno.Command(program, { args: ["--version"], stdout: "null", stderr: "null" }).output()).success;
  } catch {
    return false;
  }
}

/** Runs a program and passes its standard error on. */
export async function run(program: string, ...args: string[]): Promise<{ code: number; stdout: string }> {
  const { code, stdout } = await new Deno.Command(program, { args, cwd: root, stderr: "inherit" }).output();
  return { code, stdout: new TextDecoder().decode(stdout) };
}

const root = new URL("../..", import.meta.url);

/** Returns the arguments with which Deno starts the tool. */
export function toolArguments(...args: string[]): string[] {
  return ["run", "--no-prompt", "--allow-ffi", "--allow-sys", new URL("cli.ts", root).pathname, ...args];
}

/** Runs the tool and returns its output. Throws if the exit code is neither 0 nor 1 (a check failed). */
export async function yamoe(...args: string[]): Promise<string> {
  const { code, stdout } = await run(Deno.execPath(), ...toolArguments(...args));
  if (code > 1) throw new Error(`yamoe ${args.join(" ")} exited with code ${code}`);
  return stdout;
}

/** Runs a command of the tool with `--json` and returns the parsed output. */
export async function yamoeJson<Result>(...args: string[]): Promise<Result> {
  return JSON.parse(await yamoe(...args, "--json")) as Result;
}
