// Makes each of the emulator's outputs once, two at a time.

/**
 * Makes a file unless it exists. Test files run at the same time: one of them makes the file, and the others wait. The file has
 * a temporary name while it is incomplete.
 */
export async function once(path: string, make: (path: string) => Promise<unknown>): Promise<void> {
  if (await exists(path)) return;
  await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
  using lock = await Deno.open(`${path}.lock`, { write: true, create: true });
  await lock.lock(true);
  if (await exists(path)) return;
  const unfinished = `${path}.${Deno.pid}.${crypto.randomUUID()}`;
  await make(unfinished);
  await Deno.rename(unfinished, path);
}

/** Returns whether a file exists. */
async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Runs tasks two at a time. The results keep the order of the tasks. */
export async function inPairs<Result>(tasks: readonly (() => Promise<Result>)[]): Promise<Result[]> {
  const results: Result[] = [];
  let next = 0;
  const work = async () => {
    for (let i = next++; i < tasks.length; i = next++) results[i] = await tasks[i]!();
  };
  await Promise.all([work(), work()]);
  return results;
}
