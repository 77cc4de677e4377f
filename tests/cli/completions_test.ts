import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { commands } from "../../src/cli/commands.ts";
import { yamoe } from "./yamoe.ts";

/** Returns what bash offers at the end of a line. */
async function completed(script: string, line: string): Promise<string[]> {
  const words = line.replace(/(--[\w-]+)=/, "$1 = ").split(" "); // bash splits words at "="
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
  assertEquals(await completed(script, "yamoe bench --preset=ti"), ["tiny"]);
  assertEquals(await completed(script, "yamoe bench --preset tiny,sm"), ["tiny,small"]);
  assertEquals(await completed(script, "yamoe bench --preset=tiny,small,ti"), ["tiny,small,tiny"]);
  assertEquals(await completed(script, "yamoe bench --dtype f16,bf16,"), [
    "f16,bf16,f16",
    "f16,bf16,bf16",
    "f16,bf16,f32",
  ]);
  for (const [name, { load }] of Object.entries(commands)) {
    const { default: { flags } } = await load();
    const expected = [...Object.keys(flags), "help"].map((flag) => `--${flag}`).sort();
    assertEquals((await completed(script, `yamoe ${name} --`)).sort(), expected);
  }
});

Deno.test("yamoe completions zsh and fish name every command and flag", async () => {
  const scripts = {
    zsh: (flag: string) => new RegExp(`--${flag}=?(\\[|\\})`),
    fish: (flag: string) => new RegExp(`-l ${flag} `),
  };
  for (const [shell, spelled] of Object.entries(scripts)) {
    const { code, stdout } = await yamoe(["completions", shell]);
    assertEquals(code, 0);
    for (const [name, { load }] of Object.entries(commands)) {
      assertMatch(stdout, new RegExp(`\\b${name}\\b`));
      for (const flag of Object.keys((await load()).default.flags)) {
        assertMatch(stdout, spelled(flag));
      }
    }
  }
});

Deno.test("yamoe completions refuses an unknown shell", async () => {
  for (const operands of [[], ["csh"], ["bash", "zsh"]]) {
    const { code, stdout, stderr } = await yamoe(["completions", ...operands]);
    assertEquals({ code, stdout }, { code: 2, stdout: "" });
    assertStringIncludes(stderr, "yamoe completions takes bash, zsh or fish");
  }
});

/** Whether a shell is installed. */
function installed(shell: string): boolean {
  try {
    return new Deno.Command(shell, { args: ["--version"], stdout: "null", stderr: "null" }).outputSync().success;
  } catch {
    return false;
  }
}

Deno.test({
  name: "fish completes files, lists and values after an equals sign",
  ignore: !installed("fish"),
  fn: async () => {
    const folder = await Deno.makeTempDir();
    try {
      await Deno.writeTextFile(`${folder}/yamoe.fish`, (await yamoe(["completions", "fish"])).stdout);
      await Deno.writeTextFile(`${folder}/model.safetensors`, "");
      const offered = async (line: string) => {
        const args = ["--no-config", "-c", `source yamoe.fish; complete -C '${line}'`];
        const { stdout } = await new Deno.Command("fish", { args, cwd: folder }).output();
        return new TextDecoder().decode(stdout).trimEnd().split("\n").map((offer) => offer.split("\t")[0]);
      };
      for (const flag of ["--weights", "--input", "--output"]) {
        assertEquals(await offered(`yamoe run ${flag} mod`), ["model.safetensors"]);
      }
      assertEquals(await offered("yamoe bench --preset=ti"), ["--preset=tiny"]);
      assertEquals(await offered("yamoe bench --preset tiny,sm"), ["tiny,small"]);
      assertEquals(await offered("yamoe bench --format j"), ["json", "jsonl"]);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
