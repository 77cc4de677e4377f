/**
 * Runs a function on all items, several at a time, and waits for all that have begun.
 *
 * @param limit How many run at a time.
 * @throws The first error. No further item begins after it.
 */
export async function concurrently<Item>(
  items: Iterable<Item>,
  limit: number,
  run: (item: Item) => Promise<void>,
): Promise<void> {
  const queue = items[Symbol.iterator]();
  const errors: unknown[] = [];
  const work = async () => {
    for (let next = queue.next(); !next.done && errors.length === 0; next = queue.next()) {
      await run(next.value).catch((error) => errors.push(error));
    }
  };
  await Promise.all(Array.from({ length: limit }, work));
  if (errors.length > 0) throw errors[0];
}

/**
 * Waits for all promises, also if one of them is rejected.
 *
 * @throws The error of the first promise that is rejected, in the order of the promises.
 */
export async function all(promises: readonly Promise<unknown>[]): Promise<void> {
  for (const result of await Promise.allSettled(promises)) if (result.status === "rejected") throw result.reason;
}
