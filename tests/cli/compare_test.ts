import { assertEquals, assertStringIncludes } from "@std/assert";
import { toJson } from "../../src/report/json.ts";
import { record } from "../records.ts";
import { yamoe } from "./yamoe.ts";

Deno.test("yamoe compare prints a verdict for each configuration and ends as --fail-on says", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const write = async (name: string, scale: number) => {
      const times = Array.from({ length: 20 }, (_, i) => scale * (10 + i / 1000));
      const path = `${folder}/${name}.json`;
      await Deno.writeTextFile(path, toJson([record(times), record(times.map((time) => time / scale), { batch: 9 })]));
      return path;
    };
    const paths = [await write("before", 1), await write("after", 2)];
    const read = [`--allow-read=${folder}`];
    const { code, stdout, stderr } = await yamoe(["compare", ...paths], read);
    assertEquals([code, stderr], [0, "1 same, 1 slower\n"]);
    const lines = stdout.trimEnd().split("\n");
    assertEquals(lines.length, 3);
    assertStringIncludes(lines[1]!, "+100.0 %");
    assertEquals(lines.map((line) => line.split(/\s+/).at(-1)), ["verdict", "slower", "same"]);

    const exits = { slower: 1, "slower,missing": 1, faster: 0, "unclear,missing": 0 };
    for (const [verdict, expected] of Object.entries(exits)) {
      assertEquals((await yamoe(["compare", ...paths, "--fail-on", verdict], read)).code, expected, verdict);
    }
    const json = JSON.parse((await yamoe(["compare", ...paths, "--format", "json"], read)).stdout);
    assertEquals(json.map(({ verdict }: { verdict: string }) => verdict), ["slower", "same"]);
    const markdown = (await yamoe(["compare", ...paths, "--format", "markdown"], read)).stdout.trimEnd().split("\n");
    assertEquals([markdown.length, new Set(markdown.map((line) => line.length)).size], [4, 1]);

    for (const operands of [[], [paths[0]!], [...paths, paths[0]!]]) {
      const refused = await yamoe(["compare", ...operands], read);
      assertEquals([refused.code, refused.stdout], [2, ""]);
      assertStringIncludes(refused.stderr, `yamoe compare needs two files, got ${operands.length}`);
    }
    const missing = await yamoe(["compare", paths[0]!, `${folder}/nothing.json`], read);
    assertEquals(missing.code, 2);
    assertStringIncludes(missing.stderr, `Cannot read ${folder}/nothing.json: No such file or directory`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("yamoe compare reads --json and --format json of one configuration, and says that engines differ", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const bench = "bench --preset tiny --hidden 32 --backend cpu --seq 8 --iters 6".split(" ");
    const outputs = { single: ["--json"], list: ["--format", "json"], lines: ["--format", "jsonl"] };
    const first: Record<string, string[]> = {};
    for (const [name, flags] of Object.entries(outputs)) {
      const { stdout } = await yamoe([...bench, ...flags]);
      await Deno.writeTextFile(`${folder}/${name}.json`, stdout);
      const value = JSON.parse(stdout);
      first[name] = Object.keys(Array.isArray(value) ? value[0] : value);
    }
    assertEquals([first.list, first.lines], [first.single, first.single]);
    const read = [`--allow-read=${folder}`];
    for (const [a, b] of [["single", "list"], ["list", "lines"]]) {
      const { stdout } = await yamoe(
        ["compare", `${folder}/${a}.json`, `${folder}/${b}.json`, "--format", "json"],
        read,
      );
      assertEquals(JSON.parse(stdout).map(({ verdict }: { verdict: string }) => verdict === "missing"), [false]);
    }
    for (const [name, engine] of [["a", "WebAssembly"], ["b", "OpenBLAS 0.3.21"]]) {
      await Deno.writeTextFile(
        `${folder}/${name}.json`,
        toJson(record([1, 1, 1, 1, 1, 1], {}, { engine: `${engine}` })),
      );
    }
    const { stderr } = await yamoe(["compare", `${folder}/a.json`, `${folder}/b.json`], read);
    assertStringIncludes(stderr, "The files differ in engine: WebAssembly; OpenBLAS 0.3.21\n");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("yamoe compare says in what jobs differ that have no partner, and what an old file does not record", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const read = [`--allow-read=${folder},tests`];
    const times = [10, 10, 10, 10, 10, 10];
    await Deno.writeTextFile(`${folder}/experts.json`, toJson(record(times)));
    await Deno.writeTextFile(`${folder}/moe.json`, toJson(record(times, { op: "moe", skew: 1 })));
    const other = await yamoe(["compare", `${folder}/experts.json`, `${folder}/moe.json`], read);
    assertStringIncludes(other.stderr, "because they differ in op: experts; moe\n");
    assertStringIncludes(other.stderr, "because they differ in skew: 0; 1\n");
    assertStringIncludes(other.stderr, "2 missing\n");
    await Deno.writeTextFile(`${folder}/new.json`, toJson(record(times, { batch: 2 })));
    const old = await yamoe(["compare", "tests/report/records/cad1310.json", `${folder}/new.json`], read);
    assertStringIncludes(old.stderr, "does not record it: activation: not recorded; swiglu-oai\n");
    assertStringIncludes(old.stdout, "verdict");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
