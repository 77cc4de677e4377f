// Misspelt names: what a type checker would find, found where there is none.

/**
 * Checks that an object has no members but those that are known; undefined ones may have any name.
 *
 * @param what What the object is called in messages.
 * @param known The names, each with `true`, so that the compiler sees to it that none is forgotten.
 * @throws {TypeError} If it has another, by its name.
 */
export function checkNames<Known extends string>(
  what: string,
  given: object,
  known: Readonly<Record<Known, true>>,
): void {
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || Object.hasOwn(known, name)) continue;
    throw new TypeError(`${what} must have no member but ${Object.keys(known).join(", ")}, got "${name}"`);
  }
}
