import { assert, assertEquals, assertLess, assertMatch, assertStringIncludes } from "@std/assert";
import { figureKeys } from "../../src/bench/figures.ts";
import { cli, words, yamoe } from "./yamoe.ts";

/** Reads RFC 4180. */
function parseCsv(text: string): Record<string, string>[] {
  const lines = [...text.matchAll(/((?:"(?:[^"]|"")*"|[^,\n"]*)(?:,(?:"(?:[^"]|"")*"|[^,\n"]*))*)\n/g)].map((
    [, line],
  ) =>
    [...`,${line}`.matchAll(/,("(?:[^"]|"")*"|[^,]*)/g)].map(([, cell]) =>
      cell!.startsWith('"') ? cell!.slice(1, -1).replaceAll('""', '"') : cell!
    )
  );
  const [head, ...rows] = lines;
  for (const row of rows) assertEquals(row.length, head!.length);
  return rows.map((row) => Object.fromEntries(row.map((cell, i) => [head![i]!, cell])));
}

const small = "bench --preset tiny --hidden 32 --backend cpu";

Deno.test("a sweep in CSV has a row for each combination, in order", async () => {
  const { code, stdout } = await yamoe(words("bench --preset tiny --batch 1..8*2 --seq 16,32 --iters 2 --format csv"));
  assertEquals(code, 0);
  const rows = parseCsv(stdout);
  assertEquals(
    rows.map(({ batch, seq }) => `${batch}x${seq}`),
    words("1x16 1x32 2x16 2x32 4x16 4x32 8x16 8x32"),
  );
  for (const row of rows) {
    assertEquals(Object.keys(row), figureKeys.filter((key) => key !== "kernelTimesMs"));
    assertEquals([row.status, row.iters], ["ok", "2"]);
    assert(Number(row.kernelTimeMs) > 0 && Number(row.tflops) > 0 && Number(row.imbalance) >= 1);
  }
  const [first] = rows;
  assertEquals([first!.kept, first!.dropped, first!.commandLine], [
    "32",
    "0",
    "yamoe bench --preset tiny --batch '1..8*2' --seq 16,32 --iters 2 --format csv".replaceAll("'", ""),
  ]);
});

Deno.test("a configuration that cannot be run is a row with its reason, the rest go on, and the exit code is 1", async () => {
  const { code, stdout } = await yamoe(
    words(`${small} --top-k 1 --top-k 99 --top-k 2 --seq 16 --iters 1 --format jsonl`),
  );
  assertEquals(code, 1);
  const records = stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
  assertEquals(records.map(({ status }) => status), ["ok", "failed", "ok"]);
  assertEquals(records[1].reason, '--top-k must be at most the number of experts, 8, got "99"');
  assertEquals([records[1].topK, records[1].kernelTimeMs, records[1].tokensPerExpert], [99, null, null]);
  for (const record of records) assertEquals(Object.keys(record), figureKeys);
});

Deno.test("a configuration that does not fit is a row with its reason", async () => {
  const line =
    `${small} --batch 1,16 --hidden 4096 --experts 512 --seq 4 --intermediate 4,100000 --iters 1 --format json`;
  const { code, stdout } = await yamoe(words(line.replace("--hidden 32 ", "")), ["--allow-sys=systemMemoryInfo"]);
  assertEquals(code, 1);
  const records = JSON.parse(stdout);
  assertEquals(records.map(({ status }: { status: string }) => status), ["ok", "failed", "ok", "failed"]);
  assertMatch(
    records[1].reason,
    /^The job needs [\d.]+ GiB of memory and [\d.]+ [GM]iB must stay free for the system, but only [\d.]+ GiB are available$/,
  );
});

Deno.test("ranges: steps, products, single values; repeated flags and lists together", async () => {
  const { code, stdout } = await yamoe(
    words(`${small} --batch 1..9+4,7 --batch 3 --seq 2..3 --capacity 4,none --dry-run --format jsonl`),
  );
  assertEquals(code, 0);
  const rows = stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
  assertEquals([...new Set(rows.map(({ batch }) => batch))], [1, 5, 9, 7, 3]);
  assertEquals([...new Set(rows.map(({ seq }) => seq))], [2, 3]);
  assertEquals([...new Set(rows.map(({ capacity }) => capacity))], [4, null]);
  assertEquals([rows.length, rows[0].status, rows[0].kernelTimeMs], [20, "planned", null]);
});

Deno.test("a pattern takes all words that match", async () => {
  const { code, stdout } = await yamoe(
    words("bench --preset qwen3-*,tiny --dtype *f16 --tokens 1 --dry-run --format csv"),
  );
  assertEquals(code, 0);
  assertEquals(
    parseCsv(stdout).map(({ preset, dtype }) => `${preset} ${dtype}`),
    ["qwen3-30b-a3b", "qwen3-235b-a22b", "tiny"].flatMap((preset) => [`${preset} f16`, `${preset} bf16`]),
  );
  const { stderr } = await yamoe(words("bench --preset gwen*"));
  assertStringIncludes(stderr, '--preset must be one of "reference", "small"');
});

Deno.test("--dry-run says what does not go together, and runs nothing", async () => {
  const { code, stdout } = await yamoe(words("bench --preset tiny,reference --batch 1,1000000000 --dry-run"));
  assertEquals(code, 1);
  const lines = stdout.trimEnd().split("\n");
  assertEquals(lines.length, 7); // a title, four rows, and a note under the second row of each preset
  assertStringIncludes(lines[6]!, "Batch x seq x top-k must be at most 1073741824");
});

const badRanges: Record<string, string> = {
  "--batch 8..1": '--batch takes ranges such as 1..8, 1..9+4 or 1..64*2, got "8..1"',
  "--batch 1..8*1": "--batch takes ranges",
  "--batch 0..8*2": "--batch takes ranges",
  "--batch 1..8+0": "--batch takes ranges",
  "--batch 1..100000": '--batch takes ranges of at most 10000 values, got "1..100000"',
  "--batch 1,,2": '--batch must be an integer from 1 to 2147483647, got ""',
  "--batch 1,x": '--batch must be an integer from 1 to 2147483647, got "x"',
  "--batch 1,2 --dtype f16,f8": '--dtype must be one of "f16", "bf16", "f32"',
  "--tokens 1,2 --batch 2": "--tokens means one sequence, so --batch cannot be given as well",
  "--json --format csv": "--json and --format cannot be given together",
  "--max-noise 0": '--max-noise must be a number above 0, got "0"',
  "--min-time x": '--min-time must be a number above 0, got "x"',
  "--format yaml": '--format must be one of "text", "markdown", "csv", "json", "jsonl", "sql"',
  "--output rows.xls": '--output must end in .json, .jsonl, .csv, .sql, .md or .txt, got "rows.xls"',
};

for (const [line, message] of Object.entries(badRanges)) {
  Deno.test(`yamoe bench ${line} is refused`, async () => {
    const { code, stdout, stderr } = await yamoe(["bench", "--preset", "tiny", ...words(line)], ["-RW"]);
    assertEquals({ code, stdout }, { code: 2, stdout: "" });
    assertStringIncludes(stderr, message);
  });
}

Deno.test("text is an aligned table below what all rows share, and nothing else is on standard output", async () => {
  const { stdout } = await yamoe(words(`${small} --batch 1,16 --seq 8 --iters 2 --format text`));
  const lines = stdout.trimEnd().split("\n").filter((line) => !/^ {4}[a-z]/.test(line)); // hints, on a busy machine
  const [common = "", titles = "", ...rows] = lines;
  assertEquals(
    common,
    "experts, custom, f16, seq 8, hidden 32, intermediate 32, 8 experts, top 2, capacity 8, swiglu-oai, softmax",
  );
  assertEquals(rows.length, 2);
  const figures = ["batch", "time ms", "noise", "TFLOP/s", "GB/s", "tokens/s", "dropped", "max/mean", "output sum"];
  for (const title of figures) assertStringIncludes(titles, title);
  const end = (line: string, cell: string) => line.indexOf(cell) + cell.length;
  assertEquals(end(rows[1] ?? "", " 16 "), end(titles, "batch") + 1);
});

Deno.test("the columns of a table are as wide as the paths of checkpoints", async () => {
  const layer = new URL("../../fixtures/layers/mixtral", import.meta.url).pathname;
  const line = `bench --weights ${layer},${layer}/model.safetensors --top-k 2 --tokens 2 --backend cpu --iters 2`;
  const { stdout, stderr } = await yamoe(words(line), ["-R"]);
  const lines = stdout.trimEnd().split("\n").filter((line) => !/^ {4}[a-z]/.test(line)); // hints, on a busy machine
  assertEquals(lines.length, 4, stderr);
  const column = lines[1]!.indexOf("time ms") + "time ms".length;
  for (const row of lines.slice(2)) assertMatch(row.slice(0, column + 1), / {2}[\d.]+ $/);
});

Deno.test("Markdown is a table for an issue: what ran, the time with its noise, the rates, and the build", async () => {
  const { stdout } = await yamoe(words(`${small} --batch 1,16 --seq 8 --iters 6 --format markdown`));
  const [titles = "", rule = "", first = "", second = "", empty, build] = stdout.trimEnd().split("\n");
  const cells = (line: string) => line.split("|").slice(1, -1).map((cell) => cell.trim());
  assertEquals(cells(titles), [
    ...["model", "op", "backend", "threads", "formats", "batch", "seq"],
    ...["time ms", "TFLOP/s", "GB/s", "tokens/s", "% peak", "note"],
  ]);
  assertEquals(cells(rule).length, 13);
  assertEquals(cells(second).slice(0, 7), ["custom", "experts", "cpu", cells(first)[3], "f16", "16", "8"]);
  assertMatch(cells(first)[7] ?? "", /^[\d.]+ ± [\d.]+ %$/);
  assertEquals(empty, "");
  assertMatch(build ?? "", /^build: yamoe \d/);
});

Deno.test("the line above a table names what is special about all rows", async () => {
  const line = "bench --preset tiny --backend cpu --seq 8,16 --batch 1 --iters 1";
  const heading = async (flags: string) => (await yamoe(words(`${line} ${flags}`))).stdout.split("\n")[0];
  const sizes = "hidden 256, intermediate 256, 8 experts, top 2";
  assertEquals(await heading("--skew 1 --ep 2"), `experts, tiny, f16, batch 1, ${sizes}, skew 1, EP 2`);
  assertEquals(await heading("--weights mxfp4"), `experts, tiny, f16, mxfp4, batch 1, ${sizes}`);
  assertEquals(
    await heading("--activation gelu --router sigmoid"),
    `experts, custom, f16, batch 1, ${sizes}, gelu, sigmoid`,
  );
});

Deno.test("--columns picks the columns of every table", async () => {
  const line = `${small} --batch 1,2 --seq 8 --iters 6 --columns tokensPerSecond,batch,deviationMs`;
  const { stdout } = await yamoe(words(`${line} --format csv`));
  assertEquals(
    parseCsv(stdout).map((row) => Object.keys(row).join()),
    Array(2).fill("tokensPerSecond,batch,deviationMs"),
  );
  const text = (await yamoe(words(line))).stdout.split("\n");
  assertMatch(text[1] ?? "", /^ *tokens\/s +batch +std ms$/);
  const refused = await yamoe(words(`${small} --columns tokensPerSecnd`));
  assertStringIncludes(refused.stderr, '"tokensPerSecnd"; the nearest is "tokensPerSecond"');
});

Deno.test("--format sql makes a table that SQLite reads", async () => {
  const { DatabaseSync } = await import("node:sqlite");
  const { stdout } = await yamoe(
    words(`${small} --batch 1,2 --seq 8 --iters 6 --format sql --samples --seed 18446744073709551615`),
  );
  const database = new DatabaseSync(":memory:");
  database.exec(stdout);
  database.exec(stdout); // the table may exist
  const rows = database.prepare("SELECT batch, status, kernelTimesMs, kernelTimeMs, commandLine FROM yamoe_bench")
    .all();
  assertEquals(rows.map(({ batch, status }) => [batch, status]), [[1, "ok"], [2, "ok"], [1, "ok"], [2, "ok"]]);
  assertEquals(JSON.parse(`${rows[0]?.kernelTimesMs}`).length, 6);
  assert(typeof rows[0]?.kernelTimeMs === "number");
});

Deno.test("--output writes the format of its extension, whole, beside what is on standard output", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = `${folder}/rows.json`;
    const { code, stdout } = await yamoe(
      [...words(`${small} --batch 1,2 --seq 8 --iters 1 --format jsonl --output`), path],
      [`--allow-read=${folder}`, `--allow-write=${folder}`],
    );
    assertEquals(code, 0);
    const lines = stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
    assertEquals(JSON.parse(await Deno.readTextFile(path)), lines);
    assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), ["rows.json"]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("--output to where nothing can be written is refused before anything runs", async () => {
  const { code, stderr } = await yamoe(words(`${small} --seq 8 --output /nowhere/rows.json`), ["-RW"]);
  assertEquals(code, 2);
  assertStringIncludes(stderr, "Cannot write /nowhere/rows.json: ");
  const denied = await yamoe(words(`${small} --seq 8 --output rows.json`));
  assertEquals(denied.code, 2);
  assertStringIncludes(denied.stderr, "its folder needs --allow-read and --allow-write");
});

Deno.test("calls go on until the median is known, or the time is over and it says so", async () => {
  const run = async (line: string) =>
    JSON.parse((await yamoe(words(`${small} --seq 8 --format json ${line}`))).stdout)[0];
  const converged = await run("--max-noise 60 --timeout 60 --min-time 0.01");
  assertEquals([converged.converged, converged.hints.filter((hint: string) => hint.startsWith("not"))], [true, []]);
  assert(converged.iters >= 6 && converged.noise <= 0.6);
  const not = await run("--max-noise 0.000001 --timeout 0.1");
  assertEquals(not.converged, false);
  assertMatch(
    not.hints[0],
    /^not converged: the time was enough for \d+ calls, the median is known to [\d.]+ %; raise --timeout or --max-noise$/,
  );
});

for (
  const [format, check] of Object.entries({ json: JSON.parse, csv: parseCsv }) as [
    string,
    (text: string) => unknown[],
  ][]
) {
  Deno.test(`Ctrl-C in a sweep leaves the rows so far in ${format}, whole, within a second`, async () => {
    const folder = await Deno.makeTempDir();
    const path = `${folder}/rows.jsonl`;
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "--no-prompt", `--allow-read=${folder}`, `--allow-write=${folder}`, cli],
        ...words(`${small} --batch 1..1000 --seq 8 --iters 3 --format ${format} --output`),
        path,
      ],
      stdout: "piped",
      stderr: "null",
    }).spawn();
    let stdout = "", interrupted = 0;
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
      stdout += text;
      if (interrupted === 0 && stdout.split("\n").length > 5) {
        interrupted = performance.now();
        child.kill("SIGINT");
      }
    }
    const { code } = await child.status;
    assertEquals(code, 130);
    assertLess(performance.now() - interrupted, 1000);
    const rows = check(stdout);
    assert(rows.length >= 3 && rows.length < 1000);
    const kept = (await Deno.readTextFile(path)).trimEnd().split("\n").map((line) => JSON.parse(line));
    assertEquals(kept.length, rows.length);
    assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), ["rows.jsonl"]);
    await Deno.remove(folder, { recursive: true });
  });
}

Deno.test("--dry-run marks configurations that do not fit the memory, with a reserve", async () => {
  const line = "bench --preset tiny --backend cpu --batch 1,100000000 --seq 1 --dry-run --format json";
  const { code, stdout } = await yamoe(words(line), ["--allow-sys=systemMemoryInfo"]);
  const rows: { status: string; reason: string | null }[] = JSON.parse(stdout);
  assertEquals([code, rows.map(({ status }) => status)], [1, ["planned", "failed"]]);
  assertMatch(rows[1]?.reason ?? "", /^The job needs [\d.]+ GiB of memory and [\d.]+ [GM]iB must stay free/);
});

Deno.test("A single job that does not fit the memory ends with 1 before it allocates anything", async () => {
  const start = performance.now();
  const { code, stdout, stderr } = await yamoe(
    words("bench --preset tiny --backend cpu --batch 100000000 --seq 1"),
    ["--allow-sys=systemMemoryInfo"],
  );
  assertEquals({ code, stdout }, { code: 1, stdout: "" });
  assertStringIncludes(stderr, "must stay free for the system");
  assertLess(performance.now() - start, 10_000);
});

Deno.test("A sweep of too many configurations is refused before they are made", async () => {
  const { code, stderr } = await yamoe(words("bench --batch 1..10000 --seq 1..10000 --dry-run"));
  assertEquals([code, stderr], [
    2,
    "yamoe: A sweep must have at most 100000 configurations, the flags make 100000000\n",
  ]);
});

Deno.test("--samples adds the time of every call to CSV, and notes name a few of their rows", async () => {
  const { stdout, stderr } = await yamoe(
    words(`${small} --batch 1..6 --seq 8 --warmup 0 --iters 1 --format csv --samples`),
  );
  const rows = parseCsv(stdout);
  assertEquals(rows.length, 6);
  assert(rows.every(({ kernelTimesMs, kernelTimeMs }) => kernelTimesMs === kernelTimeMs), stdout);
  const names = "batch 1; batch 2; batch 3; batch 4 and 2 more rows";
  assertStringIncludes(stderr, `Note on ${names}: cold call; use --warmup 1\n`);
});
