// Page-locked memory and the garbage collector.
import { assertEquals } from "@std/assert";

/** Makes page-locked buffers in a program that can collect garbage, and prints which of them still exist. */
const program = `
  import { StagingBuffer } from ${JSON.stringify(new URL("../../src/cuda/driver/memory.ts", import.meta.url).href)};
  const context = { call() {}, release() {} };
  const make = (isClosed) => {
    const buffer = new StagingBuffer(context, 2 ** 20);
    if (isClosed) buffer[Symbol.dispose]();
    return new WeakRef(buffer.memory);
  };
  const locked = make(false), closed = make(true);
  for (let i = 0; i < 5; i++) {
    await new Promise((resolve) => setTimeout(resolve, 10)); // a WeakRef keeps its target until the task ends
    gc();
  }
  console.log(JSON.stringify({ locked: locked.deref() !== undefined, closed: closed.deref() !== undefined }));
`;

Deno.test("locked memory exists until it is unlocked, also if nobody has a reference to its buffer", async () => {
  const args = ["eval", "--ext=ts", "--v8-flags=--expose-gc", program];
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args }).output();
  assertEquals(code, 0, new TextDecoder().decode(stderr));
  assertEquals(JSON.parse(new TextDecoder().decode(stdout)), { locked: true, closed: false });
});
