// Finds the CUDA toolkit for the tests that need it. Without it those tests are reported as ignored.

/** The CUDA toolkit. */
export interface Toolkit {
  readonly nvcc: string;
  /** The folder that contains cuda.h. */
  readonly include: string;
}

function run(command: string, ...args: string[]): string | undefined {
  try {
    const { success, stdout, stderr } = new Deno.Command(command, { args, stdout: "piped", stderr: "piped" })
      .outputSync();
    return success ? new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) : undefined;
  } catch {
    return undefined; // not installed
  }
}

/** The toolkit with which the kernels are built, if it is installed. */
export const toolkit: Toolkit | undefined = (() => {
  if (!run("nvcc", "--version")?.includes("release 13.0")) return undefined;
  const root = run("nvcc", "--dryrun", "-x", "cu", "/dev/null")?.match(/TOP=(\S+)/)?.[1];
  return root === undefined ? undefined : { nvcc: "nvcc", include: `${root}/include` };
})();
