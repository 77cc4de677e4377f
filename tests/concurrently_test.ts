import { assertEquals, assertRejects } from "@std/assert";
import { all, concurrently } from "../src/concurrently.ts";

const fail = async (milliseconds: number, message: string) => {
  await new Promise((resolve) => setTimeout(resolve, milliseconds));
  throw new Error(message);
};

Deno.test("all() waits for every promise before it throws the first error in their order", async () => {
  let done = false;
  const slow = new Promise((resolve) => setTimeout(resolve, 3)).then(() => done = true);
  await assertRejects(() => all([fail(2, "second in time"), fail(0, "first in time"), slow]), Error, "second in time");
  assertEquals(done, true);
});

Deno.test("concurrently() begins no item after an error, and waits for those that have begun", async () => {
  const begun: number[] = [], ended: number[] = [];
  const run = async (item: number) => {
    begun.push(item);
    if (item === 0) await fail(0, "no more");
    await new Promise((resolve) => setTimeout(resolve, 3));
    ended.push(item);
  };
  await assertRejects(() => concurrently([0, 1, 2, 3], 2, run), Error, "no more");
  assertEquals([begun, ended], [[0, 1], [1]]);
});
