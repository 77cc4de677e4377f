import { assertEquals, assertStringIncludes } from "@std/assert";

async function run(program: string, ...args: string[]): Promise<{ code: number; text: string }> {
  const { code, stdout, stderr } = await new Deno.Command(program, { args, env: { NO_COLOR: "1" } }).output();
  return { code, text: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
}

/** The major version of Node, which runs TypeScript from version 24 on; 0 if it is not installed. */
const nodeVersion = await run("node", "--version").then(({ text }) => Number(text.match(/^v(\d+)/)?.[1] ?? 0), () => 0);

for (const file of ["mod.ts", "cli.ts"]) {
  const url = new URL(`../${file}`, import.meta.url).href;
  Deno.test(`${file} says that it needs Deno if the runtime is another one`, async () => {
    const script = `delete globalThis.Deno; await import(${JSON.stringify(url)});`;
    const { code, text } = await run(Deno.execPath(), "eval", script);
    assertEquals(code, 1, text);
    assertStringIncludes(text, `Cannot load yamoe: expected Deno, got ${navigator.userAgent}; with Node.js, run`);
  });

  Deno.test({
    name: `${file} says that it needs Deno if Node imports it`,
    ignore: nodeVersion < 24,
    async fn() {
      const { code, text } = await run(
        "node",
        "--input-type=module",
        "--eval",
        `await import(${JSON.stringify(url)});`,
      );
      assertEquals(code, 1, text);
      assertStringIncludes(text, "Cannot load yamoe: expected Deno, got Node.js/");
    },
  });
}
