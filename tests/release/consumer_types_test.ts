// A program with compiler options of its own type-checks the library's source with them.
import { assertEquals } from "@std/assert";

Deno.test("the library has no type errors with the default compiler options", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const { imports } = JSON.parse(await Deno.readTextFile(new URL("../../deno.json", import.meta.url)));
    const library = new URL("../../mod.ts", import.meta.url).href;
    await Deno.writeTextFile(
      `${directory}/deno.json`,
      JSON.stringify({ imports: { ...imports, "@yamoe/yamoe": library } }),
    );
    await Deno.writeTextFile(`${directory}/main.ts`, 'import { moe } from "@yamoe/yamoe";\nconsole.log(moe.name);\n');
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["check", "--no-lock", "main.ts"],
      cwd: directory,
    }).output();
    assertEquals(code, 0, new TextDecoder().decode(stderr));
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
