import { assert, assertEquals } from "@std/assert";
import { firstError } from "../src/bench/first_error.ts";

/** A resource whose disposal fails. */
function failing(message: string): Disposable {
  return {
    [Symbol.dispose]() {
      throw new Error(message);
    },
  };
}

Deno.test("firstError() finds the error that came before those of disposals", () => {
  const own = new RangeError("own");
  try {
    using _first = failing("first disposal");
    using _second = failing("second disposal");
    throw own;
  } catch (error) {
    assertEquals(error instanceof SuppressedError, true);
    assert(firstError(error) === own);
  }
});
