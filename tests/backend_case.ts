import { assertEquals } from "@std/assert";
import type { Backend } from "../mod.ts";

/** Registers a test. */
export type BackendTest = (title: string, fn: (backend: Backend) => Promise<void>) => void;

/** A function that registers a test on a backend of its own, and sees that the test leaves no tensor behind. */
export function backendTest(
  name: string,
  open: () => Promise<Backend>,
  ignore: boolean,
): (title: string, fn: (backend: Backend) => Promise<void>) => void {
  return (title, fn) =>
    Deno.test({
      name: `${name}: ${title}`,
      ignore,
      fn: async () => {
        using backend = await open();
        await fn(backend);
        assertEquals(backend.memory.liveBytes, 0, "tensors were left behind");
      },
    });
}
