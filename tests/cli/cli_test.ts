import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { figureKeys } from "../../src/bench/figures.ts";

interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs the tool without any permission. */
async function yamoe(...args: string[]): Promise<Outcome> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", new URL("../../cli.ts", import.meta.url).pathname, ...args],
    env: { NO_COLOR: "1" },
  }).output();
  return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}

Deno.test("bench prints three lines and nothing else to stdout", async () => {
  const { code, stdout, stderr } = await yamoe("bench", "--preset", "tiny");
  assertEquals(code, 0);
  assertMatch(stdout, /^Output sum: 0\.2739\nKernel time: \d+\.\d{3} ms\nPeak CPU memory: 3\.\d\d MB\n$/);
  assertStringIncludes(stderr, "Kept 476 of 512 assignments, 36 dropped by the capacity of 64");
  assertStringIncludes(stderr, "Tokens per expert: 49 82 46 61 70 68 72 64");
});

Deno.test("bench --json prints one object with every key", async () => {
  const { code, stdout } = await yamoe(
    "bench",
    "--preset=tiny",
    "--seed",
    "18446744073709551615",
    "--iters",
    "2",
    "--json",
  );
  assertEquals(code, 0);
  assertStringIncludes(stdout, '"seed":18446744073709551615,');
  const result = JSON.parse(stdout);
  assertEquals(Object.keys(result), figureKeys);
  assertEquals(result.kernelTimesMs.length, 2);
  assertEquals(result.uploadTimeMs, null);
  assert(!Number.isNaN(Date.parse(result.time)));
});

Deno.test("bench takes its job from the flags", async () => {
  const flags = "--batch 2 --seq 9 --hidden 24 --intermediate 10 --experts 5 --top-k 3 --capacity none --threads 1";
  const { stdout } = await yamoe(...flags.split(" "), "--json");
  const { batch, seq, hidden, intermediate, experts, topK, capacity, threads, kept, dropped } = JSON.parse(stdout);
  assertEquals([batch, seq, hidden, intermediate, experts, topK, capacity, threads, kept, dropped], [
    2,
    9,
    24,
    10,
    5,
    3,
    null,
    1,
    54,
    0,
  ]);
});

Deno.test("bench --tokens is one sequence, and the preset decides whether tokens are dropped", async () => {
  for (const [preset, capacity] of [["tiny", 5], ["gpt-oss-20b", null]] as const) {
    const { stdout } = await yamoe(..."--tokens 5 --hidden 16 --intermediate 16 --json --preset".split(" "), preset);
    const job = JSON.parse(stdout);
    assertEquals([job.batch, job.seq, job.capacity], [1, 5, capacity]);
  }
});

const refused: Record<string, string> = {
  "--bach 3": 'Unknown flag "--bach"; the nearest is "--batch"',
  "-x": 'Unknown flag "-x"',
  "--batch": "--batch needs a value",
  "--batch --seq 3": "--batch needs a value",
  "--batch=": "--batch needs a value",
  "--batch ": "--batch needs a value",
  "--batch 0": '--batch must be an integer from 1 to 2147483647, got "0"',
  "--batch -1": '--batch must be an integer from 1 to 2147483647, got "-1"',
  "--seq 1.5": '--seq must be an integer from 1 to 2147483647, got "1.5"',
  "--hidden 99999999999999999999": "--hidden must be an integer from 1 to 2147483647",
  "--hidden 100000000": "The job's tensors must have at most 1099511627776 elements",
  "--tokens 64 --batch 2": "--tokens means one sequence, so --batch cannot be given as well",
  "--seq 8 --tokens 64": "--tokens means one sequence, so --seq cannot be given as well",
  "--dtype fp8": '--dtype must be one of "f16", "bf16", "f32", got "fp8"',
  "--preset deepseek-v3 --experts 12": "groups must divide the number of experts, 12, got 8",
  "--preset llama-4-scout --top-k 2": "--top-k must be 1 for a router that scales the input of the experts",
  "--batch 1000000000": "Batch x seq x top-k must be at most 1073741824",
  "--experts x": '--experts must be an integer from 1 to 2147483647, got "x"',
  "--top-k 5 --experts 4": '--top-k must be at most the number of experts, 4, got "5"',
  "--capacity some": '--capacity must be an integer from 1 to 2147483647, or "none", got "some"',
  "--seed -1": '--seed must be an integer from 0 to 18446744073709551615, got "-1"',
  "--seed 18446744073709551616": "--seed must be an integer from 0 to 18446744073709551615",
  "--threads 0": '--threads must be an integer from 1 to 1024, got "0"',
  "--iters 0": "--iters must be an integer from 1",
  "--preset refrence":
    '--preset must be one of "reference", "small", "tiny", "gpt-oss-20b", "gpt-oss-120b", "mixtral-8x7b", ',
  "--backend gpu": '--backend must be one of "auto", "cuda", "cpu"',
  "--json=yes": "--json takes no value",
  "--warmup 1 --warmup 2": "--warmup was given 2 times",
  "bench reference": 'Cannot understand the word "reference"',
  "bench -- reference": 'Cannot understand the word "reference"',
  "constructor": 'Unknown command "constructor"',
  "bnch": 'Unknown command "bnch"; the nearest is "bench"',
};

for (const [line, message] of Object.entries(refused)) {
  Deno.test(`yamoe ${line} is refused`, async () => {
    const { code, stdout, stderr } = await yamoe(...line.split(" "));
    assertEquals({ code, stdout }, { code: 2, stdout: "" });
    assertStringIncludes(stderr, message);
    assertEquals(stderr.trimEnd().split("\n").length, 1, stderr);
  });
}

Deno.test("--backend cuda without a GPU ends with 3 and the reason", async () => {
  const { code, stdout, stderr } = await yamoe("--backend", "cuda");
  assertEquals({ code, stdout }, { code: 3, stdout: "" });
  assertMatch(stderr, /^yamoe: Cannot (find|use) the NVIDIA driver: .+\n$/);
});

Deno.test("--blas with a library that cannot be used ends with 3 and the reason", async () => {
  const { code, stdout, stderr } = await yamoe("--backend", "cpu", "--blas", "/no/such/library.so");
  assertEquals({ code, stdout }, { code: 3, stdout: "" });
  assertEquals(
    stderr,
    'yamoe: Cannot use the BLAS library "/no/such/library.so": opening it needs the permission --allow-ffi\n',
  );
});

for (const line of ["--help", "help", "bench --help", "bench -h"]) {
  Deno.test(`yamoe ${line} shows help`, async () => {
    const { code, stdout, stderr } = await yamoe(...line.split(" "));
    assertEquals({ code, stderr }, { code: 0, stderr: "" });
    assertStringIncludes(stdout, "Usage: yamoe");
    assert(stdout.split("\n").every((line) => line.length <= 120));
  });
}
