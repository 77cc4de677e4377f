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
      assertEquals(await offered("yamoe bench --weights mod"), ["model.safetensors"]);
      assertEquals(await offered("yamoe bench --weights dense,mx"), ["dense,mxfp4"]);
      assertEquals(await offered("yamoe bench --preset=ti"), ["--preset=tiny"]);
      assertEquals(await offered("yamoe bench --preset tiny,sm"), ["tiny,small"]);
      assertEquals(await offered("yamoe bench --format j"), ["json", "jsonl"]);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

/** A zsh in a pseudo-terminal, in which Control-T completes the line and prints it. */
const zshSession = `
zmodload zsh/zpty
zpty shell zsh -f -i
await() { local text; while zpty -r shell text 2>/dev/null; do [[ $text == *$1* ]] && { print -r -- $text; return; }; done; }
zpty -w shell 'PS1=; unsetopt zle_bracketed_paste; autoload -Uz compinit; compinit -u -D; source ./yamoe.zsh'
zpty -w shell 'show() { zle complete-word; print -r -- "<<$BUFFER>>"; BUFFER=; }; zle -N show; bindkey "^T" show; print re""ady'
await ready >/dev/null
while read -r line; do zpty -w -n shell "$line"$'\\x14'; await '>>'; done
`;

Deno.test({
  name: "zsh completes files, lists and values after an equals sign",
  ignore: !installed("zsh"),
  fn: async () => {
    const folder = await Deno.makeTempDir();
    try {
      await Deno.writeTextFile(`${folder}/yamoe.zsh`, (await yamoe(["completions", "zsh"])).stdout);
      await Deno.writeTextFile(`${folder}/session.zsh`, zshSession);
      await Deno.writeTextFile(`${folder}/model.safetensors`, "");
      const completions = {
        "yamoe comple": "yamoe completions",
        "yamoe run --weights mod": "yamoe run --weights model.safetensors",
        "yamoe run --weights=mod": "yamoe run --weights=model.safetensors",
        "yamoe bench --weights mod": "yamoe bench --weights model.safetensors",
        "yamoe bench --weights dense,mx": "yamoe bench --weights dense,mxfp4",
        "yamoe bench --preset=ti": "yamoe bench --preset=tiny",
        "yamoe bench --preset tiny,sm": "yamoe bench --preset tiny,small",
        "yamoe bench --preset=tiny,sm": "yamoe bench --preset=tiny,small",
        "yamoe bench --format mark": "yamoe bench --format markdown",
        "yamoe bench --columns batch,tokensPerS": "yamoe bench --columns batch,tokensPerSecond",
      };
      const child = new Deno.Command("timeout", {
        ...{ args: ["20", "zsh", "-f", "session.zsh"], cwd: folder, stdin: "piped", stdout: "piped", stderr: "null" },
      }).spawn();
      const writer = child.stdin.getWriter();
      await writer.write(new TextEncoder().encode(Object.keys(completions).join("\n") + "\n"));
      await writer.close();
      const { stdout } = await child.output();
      const lines = [...new TextDecoder().decode(stdout).matchAll(/<<(.*?)>>/g)].map(([, line]) => line?.trimEnd());
      // In lists, zsh adds a comma that it removes again when a space follows.
      assertEquals(lines.map((line) => line?.replace(/,$/, "")), Object.values(completions));
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
