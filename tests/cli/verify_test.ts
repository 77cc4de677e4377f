import { assertEquals, assertStringIncludes } from "@std/assert";
import { words, yamoe } from "./yamoe.ts";

Deno.test("verify refuses a job that does not fit the memory before it computes", async () => {
  const line = "verify --preset deepseek-v3 --tokens 100000000 --backend cpu";
  const { code, stdout, stderr } = await yamoe(words(line), ["--allow-sys=systemMemoryInfo"]);
  assertEquals([code, stdout], [1, ""]);
  assertStringIncludes(stderr, "yamoe: The job needs ");
});
