import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { commands } from "../../src/cli/commands.ts";
import { yamoe } from "./yamoe.ts";

/** What bash offers at the end of a line. */
async function completed(script: string, line: string): Promise<string[]> {
  const words = line.split(" ");
  const quoted = words.map((word) => `'${word}'`).join(" ");
  const code = `${script}\nCOMP_WORDS=(${quoted}); COMP_CWORD=${
    words.length - 1
  }; _yamoe; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr } = await new Deno.Command("bash", { args: ["-c", code] }).output();
  assertEquals(new TextDecoder().decode(stderr), "");
  return new TextDecoder().decode(stdout).split("\n").filter((word) => word !== "");
}

Deno.test("yamoe completions bash completes commands, flags and words", async () => {
  const { code, stdout: script } = await yamoe(["completions", "bash"]);
  assertEquals(code, 0);
  assertEquals((await completed(script, "yamoe ")).sort(), [...Object.keys(commands), "help"].sort());
  assertEquals(await completed(script, "yamoe comp"), ["compare", "completions"]);
  assertEquals(await completed(script, "yamoe bench --for"), ["--format"]);
  assertEquals(await completed(script, "yamoe bench --format j"), ["json", "jsonl"]);
  assertEquals(await completed(script, "yamoe --max"), ["--max-noise"]);
  assertEquals(await completed(script, "yamoe compare --fail-on s"), ["same", "slower"]);
  assertEquals(await completed(script, "yamoe bench --batch "), []);
  for (const [name, { load }] of Object.entries(commands)) {
    const { default: { flags } } = await load();
    const expected = [...Object.keys(flags), "help"].map((flag) => `--${flag}`).sort();
    assertEquals((await completed(script, `yamoe ${name} --`)).sort(), expected);
  }
});

Deno.test("yamoe completions zsh and fish name every command and flag", async () => {
  const scripts = { zsh: (flag: string) => `--${flag}[`, fish: (flag: string) => `-l ${flag} ` };
  for (const [shell, spelled] of Object.entries(scripts)) {
    const { code, stdout } = await yamoe(["completions", shell]);
    assertEquals(code, 0);
    for (const [name, { load }] of Object.entries(commands)) {
      assertMatch(stdout, new RegExp(`\\b${name}\\b`));
      for (const flag of Object.keys((await load()).default.flags)) {
        assert(stdout.includes(spelled(flag)), `${shell} ${flag}`);
      }
    }
  }
});

Deno.test("yamoe completions of no shell is refused", async () => {
  for (const operands of [[], ["csh"], ["bash", "zsh"]]) {
    const { code, stdout, stderr } = await yamoe(["completions", ...operands]);
    assertEquals({ code, stdout }, { code: 2, stdout: "" });
    assertStringIncludes(stderr, "yamoe completions takes bash, zsh or fish");
  }
});
