// What reaches a terminal that may have neither colors nor lines that are overwritten. The output is looked at byte by byte.
import { assert, assertEquals } from "@std/assert";
import { toJson } from "../../src/report/json.ts";
import { record } from "../records.ts";
import { cli } from "./yamoe.ts";

const folder = Deno.makeTempDirSync();
addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));

/** Whether a pseudo-terminal can be opened. */
const hasScript = Deno.build.os === "linux" &&
  new Deno.Command("bash", { args: ["-c", "command -v script"], stdout: "null" }).outputSync().success;

/** Runs the tool in a terminal. Returns every byte that the terminal gets. */
async function shown(line: string, variables: Readonly<Record<string, string>>, permissions = ""): Promise<string> {
  const command = `stty cols 100; ${Deno.execPath()} run -q --no-prompt -R=${folder} ${permissions} ${cli} ${line}`;
  const { stdout } = await new Deno.Command("script", {
    args: ["-qec", command, "/dev/null"],
    env: { HOME: "/", PATH: Deno.env.get("PATH") ?? "", SHELL: "/bin/bash", DENO_DIR: denoDir, ...variables },
    clearEnv: true,
    stdin: "null",
  }).output();
  return new TextDecoder().decode(stdout);
}

const denoDir = (JSON.parse(
  new TextDecoder().decode(new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).outputSync().stdout),
) as { denoDir: string }).denoDir;

const bench = "bench --preset tiny --seq 8,16 --iters 2 --backend cpu";
const compare = `compare ${folder}/before.json ${folder}/after.json`;
const env = "--allow-env=TERM,CI";
const hasBar = (text: string) => /[█░]/.test(text), hasEscape = (text: string) => text.includes("\x1b");

Deno.test({
  name: "The progress bar has no escape sequence, and is removed; a dumb terminal and CI get none",
  ignore: !hasScript,
  fn: async () => {
    for (const variables of [{ TERM: "xterm" }, { TERM: "xterm", NO_COLOR: "1" }, { TERM: "dumb" }]) {
      const text = await shown(bench, variables); // cannot read TERM
      assert(hasBar(text));
      // The table may have colors.
      const others = text.split("\x1b").slice(1).filter((rest) => !/^\[\d*m/.test(rest));
      assertEquals(others, []);
      // What is left of the line after the last carriage return.
      const lines = text.split(/\r*\n/).map((line) => line.slice(line.lastIndexOf("\r") + 1));
      assertEquals(lines.filter(hasBar), []);
    }
    assert(hasBar(await shown(bench, { TERM: "xterm" }, env)));
    for (const variables of [{ TERM: "dumb" }, { TERM: "xterm", CI: "true" }]) {
      assertEquals(hasBar(await shown(bench, variables, env)), false);
    }
  },
});

Deno.test({
  name: "Tables have colors on a terminal, but neither with NO_COLOR nor on a dumb terminal",
  ignore: !hasScript,
  fn: async () => {
    const times = (factor: number) => Array.from({ length: 10 }, (_, i) => factor * (10 + i / 100));
    await Deno.writeTextFile(`${folder}/before.json`, toJson([record(times(1))]));
    await Deno.writeTextFile(`${folder}/after.json`, toJson([record(times(2))]));
    const text = await shown(compare, { TERM: "xterm" }, env);
    assert(hasEscape(text) && text.includes("slower"), text);
    for (const variables of [{ TERM: "xterm", NO_COLOR: "1" }, { TERM: "dumb" }]) {
      const text = await shown(compare, variables, env);
      assert(!hasEscape(text) && text.includes("slower"), text);
    }
  },
});
