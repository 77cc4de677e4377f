import { assertEquals, assertLess, assertRejects, assertThrows } from "@std/assert";
import { parseThreeLines, runAgainst, splitCommand } from "../src/bench/against.ts";
import { makeJob } from "../src/workload/workload.ts";
import { yamoe } from "./cli/yamoe.ts";

const job = makeJob("tiny", { batch: 3 });

Deno.test("splitCommand() keeps quoted words together", () => {
  assertEquals(splitCommand(`python3 -c 'print(1, "a")' "b c" d'e f'`), [
    "python3",
    "-c",
    'print(1, "a")',
    "b c",
    "de f",
  ]);
  assertEquals(splitCommand("  "), []);
});

Deno.test("parseThreeLines() finds the figures among other lines, and reports a missing one", () => {
  const text = "warming up\nOutput sum: -1.5e2\nKernel time: 85.722 ms\nPeak GPU memory: 8403.40 MB\n";
  assertEquals(parseThreeLines(text, "p"), {
    outputSum: -150,
    kernelTimeMs: 85.722,
    peakMemoryBytes: Math.round(8403.4 * 2 ** 20),
  });
  assertThrows(() => parseThreeLines("Output sum: 1\n", "p"), SyntaxError, 'p must print a line "Kernel time: N ms"');
  assertThrows(() => parseThreeLines("Output sum: nan\n", "p"), SyntaxError, 'p must print a line "Output sum: N"');
});

Deno.test("runAgainst() fills in the sizes of the job", async () => {
  const lines = "Output sum: {batch}\\nKernel time: {seq} ms\\nPeak memory: {hidden} MB\\n";
  const { result } = runAgainst(`printf '${lines}'`, job, 10_000);
  assertEquals(await result, { outputSum: 3, kernelTimeMs: 64, peakMemoryBytes: 256 * 2 ** 20 });
});

Deno.test("runAgainst() kills a program that takes too long, and reports what a failed one printed", async () => {
  const start = performance.now();
  await assertRejects(() => runAgainst("sleep 60", job, 200).result, Error, "sleep was killed after 0.2 s");
  assertLess(performance.now() - start, 10_000);
  await assertRejects(() => runAgainst("ls /nowhere", job, 10_000).result, Error, "ls ended with exit code 2: ");
  assertThrows(() => runAgainst("/nowhere/program", job, 10_000), Deno.errors.NotFound);
});

Deno.test("bench --against adds a row for the other program, also if it fails", async () => {
  const run = async (command: string) => {
    const args = "bench --preset tiny --hidden 32 --backend cpu --batch 1,2 --seq 8 --iters 1 --format json --against"
      .split(" ");
    const { code, stdout } = await yamoe([...args, command], ["--allow-run"]);
    const records: Record<string, unknown>[] = JSON.parse(stdout);
    return { code, rows: records.map((one) => [one.status, one.backend, one.batch, one.kernelTimeMs === 5]) };
  };
  assertEquals(await run("printf 'Output sum: 1\\nKernel time: 5 ms\\nPeak memory: 1 MB\\n'"), {
    code: 0,
    rows: [["ok", "cpu", 1, false], ["ok", "external", 1, true], ["ok", "cpu", 2, false], ["ok", "external", 2, true]],
  });
  const { code, rows } = await run("false");
  assertEquals([code, rows.map(([status]) => status)], [1, ["ok", "failed", "ok", "failed"]]);
});
