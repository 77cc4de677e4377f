// Every command that the README shows is run, in its order, in one folder.
import { assert, assertEquals } from "@std/assert";
import { splitCommand } from "../src/bench/against.ts";
import { commands } from "../src/cli/commands.ts";
import { cli } from "./cli/yamoe.ts";

const readme = await Deno.readTextFile(new URL("../README.md", import.meta.url));
const lines = [...readme.matchAll(/^```sh\n([^]*?)^```$/gm)].flatMap(([, block]) => block!.trim().split("\n"))
  .map((line) => line.replace(/\s+#.*$/, ""));

/** The words after the tool's name; undefined for what is none of its commands. */
function toolWords(line: string): string[] | undefined {
  const match = line.match(/^(?:yamoe|deno run (?:-\S+ )*cli\.ts)(?: (.*))?$/);
  return match ? splitCommand(match[1] ?? "") : undefined;
}

Deno.test("the README's commands run", async () => {
  const folder = await Deno.makeTempDir();
  try {
    // The checkpoint and the input that `yamoe run` is shown with.
    const layer = new URL("../fixtures/layers/gpt-oss/", import.meta.url);
    await Deno.mkdir(`${folder}/model`);
    for (const name of ["model.safetensors", "config.json"]) {
      await Deno.copyFile(new URL(name, layer), `${folder}/model/${name}`);
    }
    await Deno.copyFile(new URL("input.safetensors", layer), `${folder}/x.safetensors`);
    let ran = 0;
    for (const words of lines.map(toolWords).filter((words) => words !== undefined)) {
      // The reference job takes minutes: that it would be run is enough here.
      const reference = (words[0] ?? "bench") === "bench" && !words.some((word) => /^--(preset|batch|help)/.test(word));
      const { code, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", cli, ...words, ...(reference ? ["--dry-run"] : [])],
        cwd: folder,
        env: { NO_COLOR: "1" },
      }).output();
      const text = new TextDecoder().decode(stderr);
      const withoutGpu = words.includes("cuda") && code === 3;
      assert(code === 0 || withoutGpu, `yamoe ${words.join(" ")} ended with ${code}: ${text}`);
      ran += 1;
    }
    assert(ran >= 10);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("the README names tasks that there are, and every command of this tool's benchmark", async () => {
  const { tasks } = JSON.parse(await Deno.readTextFile(new URL("../deno.json", import.meta.url)));
  for (const [, name] of readme.matchAll(/deno(?:@[\d.]+)? task ([\w:-]+)/g)) assert(name! in tasks, name);
  for (const name of ["bench", "compare", "report", "completions"]) {
    assert(name in commands);
    assertEquals(readme.match(new RegExp(`^### yamoe ${name}$`, "gm"))?.length, 1, name);
  }
});
