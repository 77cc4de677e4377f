// `yamoe bench --gpus` and `yamoe verify --gpus` on emulated GPUs.
import { assert, assertAlmostEquals, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { words, yamoe } from "../cli/yamoe.ts";
import { buildProduct } from "../cuda/emulated.ts";
import { packedKinds } from "../../src/tensor/packed_tensor.ts";
import { toolkit } from "../toolkit.ts";
import { startRanks } from "./ranks.ts";

const cli = new URL("../../cli.ts", import.meta.url).pathname;
const permissions = ["ffi", "net", "env", "read", "sys", "run"].map((name) => `--allow-${name}`);
const job = words("bench --preset tiny --tokens 8 --capacity none");

/** Runs the tool on eight emulated GPUs. */
async function onGpus(args: readonly string[], nccl = "", arch = 80) {
  const { folder } = await buildProduct(arch, { checked: false });
  const scratch = await Deno.makeTempDir({ prefix: "yamoe-nccl-" });
  const env = { LD_LIBRARY_PATH: folder, YAMOE_EMULATOR: "devices=8", YAMOE_NCCL_FOLDER: scratch, YAMOE_NCCL: nccl };
  try {
    return await yamoe(args, permissions, env);
  } finally {
    await Deno.remove(scratch, { recursive: true });
  }
}

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name: `yamoe on emulated GPUs: ${name}`, ignore: !toolkit, fn });
}

test("bench starts the ranks of each configuration, and its records have their rates", async () => {
  const flags = words("--gpus 1,2 --exchange assignments,tokens --iters 2 --format json");
  const { code, stdout, stderr } = await onGpus([...job, ...flags]);
  assertEquals(code, 0, stderr);
  const records = JSON.parse(stdout);
  assertEquals(
    records.map(({ status, gpus, exchange, assignments }: Record<string, unknown>) => [
      ...[status, gpus, exchange, assignments],
    ]),
    [1, 1, 2, 2].map((gpus, i) => [
      ...["ok", gpus, gpus === 1 ? null : ["assignments", "tokens"][i % 2], 8 * gpus * records[0].topK],
    ]),
  );
  for (const { gpus, tokensPerSecond, tokensPerSecondPerGpu, verifiedTokens } of records) {
    assert(verifiedTokens > 0);
    assertEquals(tokensPerSecondPerGpu, gpus > 1 ? tokensPerSecond / gpus : null);
  }
});

test("bench checks packed weights over two ranks against float64", async () => {
  const flags = words("--dtype bf16 --weights mxfp4 --gpus 2 --exchange assignments,tokens --iters 1 --format json");
  const { code, stdout, stderr } = await onGpus([...job, ...flags], "", 90);
  assertEquals(code, 0, stdout + stderr);
  const [first, second] = JSON.parse(stdout);
  assertEquals([first.formats, first.verifiedTokens, second.verifiedTokens], ["mxfp4", 8, 8]);
  assertAlmostEquals(second.outputSum, first.outputSum, 1e-3);
});

test("of the ranks of a launcher, only the first prints", async () => {
  const emulator = await buildProduct(80, { checked: false });
  await using ranks = await startRanks(emulator, 2, [cli, ...job, "--gpus", "2"]);
  const [first, second] = await ranks.outcomes;
  assertEquals([first?.code, second?.code], [0, 0], first?.stderr);
  assertMatch(first?.stdout ?? "", /^Output sum: .*\nKernel time: .*\nPeak GPU memory: .*\n$/);
  assertEquals([second?.stdout, second?.stderr], ["", ""]);
});

test("a rank that dies is one line and exit code 1", async () => {
  const { code, stdout, stderr } = await onGpus([...job, "--gpus", "2", "--quiet"], "rank=1,die=20");
  assertEquals([code, stdout, stderr], [1, "", `yamoe: rank 1 on ${Deno.hostname()} has ended unexpectedly\n`]);
});

test("a rank that dies in a sweep becomes a row, and the other configurations go on", async () => {
  const { code, stdout } = await onGpus([...job, ...words("--gpus 1,2 --format json")], "rank=1,die=20");
  assertEquals(code, 1);
  assertEquals(JSON.parse(stdout).map(({ gpus, reason }: Record<string, unknown>) => [gpus, reason]), [
    [1, null],
    [2, `rank 1 on ${Deno.hostname()} has ended unexpectedly`],
  ]);
});

test("if all ranks die, the first one is named", async () => {
  const { code, stderr } = await onGpus([...job, "--gpus", "2", "--quiet"], "die=20");
  assertEquals(code, 1);
  assertMatch(stderr, /^yamoe: [Rr]ank \d (on .* has ended unexpectedly|ended with exit code 137)\n$/);
});

test("verify passes on two ranks", async () => {
  const { code, stdout, stderr } = await onGpus(words("verify --gpus 2 --batch 2 --seq 32 --hidden 64 --experts 4"));
  assertEquals(code, 0, stdout + stderr);
  assertEquals(stdout.trimEnd().split("\n").slice(1).filter((line) => !line.endsWith(" ok")), []);
  for (const kind of packedKinds) assertStringIncludes(stdout, `bf16 ${kind} weights have the bits of decoded ones`);
});

Deno.test("yamoe bench refuses wrong flags for several GPUs", async () => {
  const refused = async (flags: string, line: string, granted = permissions) => {
    const { code, stderr } = await yamoe([...job, ...words(flags)], granted);
    assertEquals([code, stderr], [2, `yamoe: ${line}\n`]);
  };
  await Promise.all([
    refused("--gpus 2 --backend cpu", "--gpus N cannot be given together with --backend cpu"),
    refused("--exchange tokens", "--exchange is for --gpus N"),
    refused("--gpus 4096", '--gpus must be at most the number of experts, 8, got "4096"'),
    refused("--gpus 2", "--gpus needs the permissions --allow-net --allow-run", [
      ...["ffi", "env", "read", "sys"].map((name) => `--allow-${name}`),
    ]),
  ]);
});
