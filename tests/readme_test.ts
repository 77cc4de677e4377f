// Runs every command that the README shows, in its order, in one folder, with exactly the permissions that it states.
import { dirname } from "node:path";
import { assert, assertEquals } from "@std/assert";
import { commands } from "../src/cli/commands.ts";
import { presets } from "../src/models/presets.ts";
import { cli, yamoe } from "./cli/yamoe.ts";
import { commandLines, copyModel, permissionTable, readme, shellLines } from "./readme.ts";

/** Runs Deno in a folder and returns its exit code and its standard error. */
async function deno(args: readonly string[], cwd: string, env: Record<string, string> = {}) {
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd,
    env: { NO_COLOR: "1", ...env },
  }).output();
  return { code, text: new TextDecoder().decode(stderr) };
}

Deno.test("the README's commands run with the permissions that it states", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await copyModel(folder);
    for (const { words, permissions } of commandLines) {
      // The reference job takes minutes.
      const isBench = (words[0] ?? "bench") === "bench";
      const isReference = isBench && !words.some((word) => /^--(preset|batch|help)/.test(word));
      const args = ["run", "--no-prompt", ...permissions, cli, ...words, ...(isReference ? ["--dry-run"] : [])];
      const { code, text } = await deno(args, folder);
      const withoutGpu = words.includes("cuda") && code === 3;
      assert(code === 0 || withoutGpu, `deno ${args.join(" ")} ended with ${code}: ${text}`);
    }
    assert(commandLines.length >= 10);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("the README's installation gives a command that runs", async () => {
  const root = await Deno.makeTempDir();
  try {
    const line = shellLines.find((line) => line.startsWith("deno install "));
    assert(line);
    const repository = new URL("..", import.meta.url).pathname;
    const installed = await deno(line.split(" ").slice(1), repository, { DENO_INSTALL_ROOT: root });
    assertEquals(installed.code, 0, installed.text);
    const PATH = `${dirname(Deno.execPath())}:${Deno.env.get("PATH")}`;
    const { stdout } = await new Deno.Command(`${root}/bin/yamoe`, { args: ["--version"], cwd: root, env: { PATH } })
      .output();
    assertEquals(new TextDecoder().decode(stdout).trim().split(/\s/)[0], "yamoe");
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});

Deno.test("the README states the permissions of every command, and names no other commands or tasks", async () => {
  const { tasks } = JSON.parse(await Deno.readTextFile(new URL("../deno.json", import.meta.url)));
  for (const [, name = ""] of readme.matchAll(/deno(?:@[\d.]+)? task ([\w:-]+)/g)) assert(name in tasks, name);
  const stated = new Set([...permissionTable.keys()].map((command) => command.split(" ")[0]));
  assertEquals([...stated].toSorted(), Object.keys(commands).toSorted());
});

Deno.test("the README shows what `yamoe plan` prints", async () => {
  const [, shown = ""] = readme.match(/^```\n(kernel [^]*?)\n```$/m) ?? [];
  const { stdout } = await yamoe(["plan"]);
  for (const line of shown.split("\n")) assert(stdout.includes(`${line}\n`), line);
  assert(shown !== "");
});

Deno.test("the README states the number of models among the presets", () => {
  const [, stated] = readme.match(/the layers of (\d+) models/) ?? [];
  assertEquals(Number(stated), Object.values(presets).filter(({ dropless }) => dropless).length);
});

Deno.test("the README has at most 220 lines", () => {
  assert(readme.trimEnd().split("\n").length <= 220);
});
