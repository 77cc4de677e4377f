// What people see in a terminal: tables and help that fit its width, and no control characters from files.
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { toJson } from "../../src/report/json.ts";
import { textTable } from "../../src/report/table.ts";
import { wrap } from "../../src/report/wrap.ts";
import { commands } from "../../src/cli/commands.ts";
import { record } from "../records.ts";
import { cli, yamoe } from "./yamoe.ts";

const folder = Deno.makeTempDirSync();
addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));

const layer = "fixtures/layers/deepseek-v3";

const lines = [
  "--help",
  ...Object.keys(commands).map((name) => `${name} --help`),
  "plan",
  "plan --preset deepseek-v3 --tokens 64 --gpu h200",
  "presets",
  "bench --preset tiny --backend cpu --hidden 32 --batch 1..4*2 --seq 8,16 --iters 2",
  "bench --preset tiny --backend cpu --hidden 32,64 --dtype f16,bf16 --top-k 1,2 --batch 1 --seq 8 --iters 2",
  "bench --preset tiny,deepseek-v3 --batch 1,1000000 --dry-run",
  "bench --preset tiny --batch 1 --dry-run",
  "bench --preset tiny --seq 8 --backend cpu",
  'bench --preset tiny --seq 8 --backend cpu --timeout 0.1 --ab "--threads 1" "--threads 2 --capacity none"',
  `bench --weights ${layer} --hidden ${layer}/input.safetensors --op experts,moe --iters 2 --backend cpu`,
  "bench --preset tiny --seq 32 --activation gelu --skew worst --ep 1,2 --iters 2 --backend cpu",
  "bench --preset tiny --seq 8,16 --iters 2 --backend cpu --columns seq,kernelTimeMs,p95Ms,p99Ms,tflops,tokensPerSecond," +
  "cpu,commandLine,gitCommit,engine,time",
  "bench --preset tiny,small --dtype f16,bf16 --weights dense,mxfp4 --seq 8,16 --batch 1,2 --skew 0,1 --ep 1,2 " +
  "--activation gelu,silu --router softmax,sigmoid --dry-run",
  "compare fixtures/benchmark/h100.jsonl fixtures/benchmark/h200.jsonl",
  `inspect ${layer}`,
  "inspect fixtures/layers/gpt-oss-mxfp4",
  "info",
  "verify --backend cpu --preset tiny",
  `run --weights ${layer} --input ${layer}/input.safetensors --output FOLDER/y.safetensors`,
  "compare tests/report/records/cad1310-sweep.json tests/report/records/501e516-sweep.json",
];

/** Whether a program is installed. */
const hasScript = new Deno.Command("bash", { args: ["-c", "command -v script"], stdout: "null" }).outputSync().success;

const narrow = "bench --preset tiny --backend cpu --seq 8,16 --iters 2";
const cases = [...lines.flatMap((line) => [80, 120].map((columns) => ({ line, columns }))), {
  line: narrow,
  columns: 40,
}];

for (const { line, columns } of cases) {
  Deno.test({
    name: `yamoe ${line} fits a terminal of ${columns} columns, and breaks lines between words`,
    ignore: !hasScript || Deno.build.os !== "linux",
    fn: async () => {
      const command =
        `stty cols ${columns} rows 40; ${Deno.execPath()} run -q --no-prompt -R=tests,fixtures,${folder} -W=${folder} ${cli} ${
          line.replace("FOLDER", folder)
        }`;
      const { stdout } = await new Deno.Command("script", {
        args: ["-qec", command, "/dev/null"],
        env: { NO_COLOR: "1", SHELL: "/bin/bash" },
        stdin: "null",
      }).output();
      // A progress bar ends with a carriage return. One that is too long wraps, and is not overwritten as a whole.
      const shown = new TextDecoder().decode(stdout).replaceAll("\x1b[K", "").split(/\r+\n|\r|\n/);
      assert(shown.length > 2, shown.join("\n"));
      const long = shown.filter((line) => line.length > columns && line.trim().includes(" "));
      assertEquals(long, []);
    },
  });
}

Deno.test("textTable() leaves out columns by rank, and then prints what names a row above it", () => {
  const columns = [
    ...["model", "kind"].map((
      title,
    ) => ({ title, identity: true, align: "left", text: () => title.repeat(3) } as const)),
    { title: "ms", text: (row: number) => `${row}` },
    { title: "mean", rank: 1, text: (row: number) => `${row + 1}` },
  ];
  const wide = [...columns, { title: "varies", identity: true, text: (row: number) => `${row}` }];
  const table = (width: number) => textTable(wide, [1, 2], width);
  assertEquals(table(80).slice(0, 2), [
    "model            kind          ms  mean  varies",
    "modelmodelmodel  kindkindkind   1     2       1",
  ]);
  assertEquals(table(41), [
    "model modelmodelmodel, kind kindkindkind",
    ...["ms  mean  varies", " 1     2       1", " 2     3       2"],
  ]);
  assertEquals(table(15), [
    ...["model", "modelmodelmodel,", "kind", "kindkindkind"],
    ...["ms  varies", " 1       1", " 2       2"],
    ...["Not shown for", "lack of width:", "mean"],
  ]);
  assertEquals(table(8).slice(4, 9), ["ms  mean", "varies 1", " 1     2", "varies 2", " 2     3"]);
});

Deno.test("textTable() has no titles of empty cells above a narrow table", () => {
  const columns = ["tiny", "", "silu"].map((cell, i) => ({ title: `column ${i}`, text: () => cell }));
  const rows = [...columns, { title: "ms", text: (row: number) => `${row}` }];
  assertEquals(textTable(rows, [1, 2], 25), ["column 0 tiny, column 2", "silu", "ms", " 1", " 2"]);
});

Deno.test("wrap() breaks between words only, and keeps the percent sign beside its number", () => {
  assertEquals(wrap("the median is known to 13.8 %; raise it", 30, "  "), [
    "  the median is known to",
    "  13.8 %; raise it",
  ]);
  assertEquals(wrap("a-word-longer-than-the-width b", 10), ["a-word-longer-than-the-width", "b"]);
});

Deno.test("Control characters of a file reach neither standard output nor standard error", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const evil = "\x1b]0;owned\x07\x1b[2J";
    const times = Array.from({ length: 10 }, (_, i) => 10 + i / 100);
    const rows = [record(times), { ...record(times), preset: evil, engine: evil, device: evil, cpu: evil }];
    await Deno.writeTextFile(`${folder}/a.json`, toJson(rows));
    await Deno.writeTextFile(`${folder}/b.json`, toJson(rows.slice(0, 1)));
    await Deno.writeTextFile(`${folder}/${evil.slice(0, 1)}.json`, `{"batch": "${evil}`);
    for (
      const args of [
        ["compare", `${folder}/a.json`, `${folder}/a.json`],
        ["compare", `${folder}/a.json`, `${folder}/b.json`, "--format", "markdown"],
        ["compare", `${folder}/a.json`, `${folder}/\x1b.json`],
        ["compare", `${folder}/\x1babsent`, `${folder}/a.json`],
        [`\x1b[2J`],
        ["bench", `--\x1b[2J`],
      ]
    ) {
      const { stdout, stderr } = await yamoe(args, [`--allow-read=${folder}`]);
      const control = [...stdout + stderr].filter((one) => one < " " && one !== "\n" || one === "\x7f");
      assertEquals(control, [], JSON.stringify(stdout + stderr));
      assert(stderr.length > 0);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("Only the exact reference job is called the reference job", async () => {
  const first = async (line: string) => (await yamoe(`plan ${line}`.trim().split(" "))).stdout.split("\n")[0] ?? "";
  assertStringIncludes(await first(""), "reference job: 128 x 2048 tokens");
  assertStringIncludes(await first("--batch 4"), "reference layer: 4 x 2048 tokens");
  assertStringIncludes(await first("--seed 1"), "reference layer: 128 x 2048 tokens");
  assertStringIncludes(await first("--batch 4 --hidden 1024"), "custom job: 4 x 2048 tokens");
  assertStringIncludes(await first("--preset qwen3-30b-a3b --tokens 64"), "qwen3-30b-a3b layer: 1 x 64 tokens");
  const line = "bench --batch 4 --hidden 1024 --dry-run --format json";
  assertEquals(JSON.parse((await yamoe(line.split(" "))).stdout)[0].preset, "custom");
});

Deno.test("A suggestion is near, or there is none", async () => {
  const message = async (line: string) => (await yamoe(line.split(" "))).stderr;
  assertStringIncludes(await message("bench --bacth 3"), 'the nearest is "--batch"');
  assertStringIncludes(await message("plan --gpu h100x"), 'the nearest is "h100"');
  assertStringIncludes(await message("bench --preset refrence"), 'the nearest is "reference"');
  for (const line of ["bench --nope", "bench --preset qwen", "plan --gpu v100", "xyz", "bench --dtype fp8"]) {
    assert(!(await message(line)).includes("nearest"), line);
  }
});
