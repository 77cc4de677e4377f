// `yamoe bench --gpus` and `yamoe verify --gpus` on emulated GPUs.
import { assert, assertEquals, assertMatch } from "@std/assert";
import { buildProduct } from "../cuda/emulated.ts";
import { toolkit } from "../toolkit.ts";
import { startRanks } from "./ranks.ts";

const cli = new URL("../../cli.ts", import.meta.url).pathname;
const permissions = ["ffi", "net", "env", "read", "sys", "run"].map((name) => `--allow-${name}`);
const job = "--preset tiny --tokens 8 --capacity none".split(" ");

async function yamoe(args: readonly string[], env: Record<string, string> = {}, granted = permissions) {
  const { library, folder } = await buildProduct(80, { checked: false });
  const scratch = await Deno.makeTempDir({ prefix: "yamoe-nccl-" });
  try {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", ...granted, cli, ...args],
      env: {
        ...{ NO_COLOR: "1", LD_LIBRARY_PATH: folder, YAMOE_EMULATOR: "devices=8", YAMOE_NCCL_FOLDER: scratch },
        ...env,
      },
    }).output();
    assert(library);
    return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
  } finally {
    await Deno.remove(scratch, { recursive: true });
  }
}

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name: `yamoe on emulated GPUs: ${name}`, ignore: !toolkit, fn });
}

test("bench starts the ranks of each configuration, and its records have their rates", async () => {
  const { code, stdout, stderr } = await yamoe([
    ...["bench", ...job, "--gpus", "1,2,3", "--exchange", "assignments,tokens", "--iters", "2", "--format", "json"],
  ]);
  assertEquals(code, 0, stderr);
  const records = JSON.parse(stdout);
  assertEquals(
    records.map(({ status, gpus, exchange, assignments }: Record<string, unknown>) => [
      ...[status, gpus, exchange, assignments],
    ]),
    [1, 1, 2, 2, 3, 3].map((gpus, i) => [
      ...["ok", gpus, gpus === 1 ? null : ["assignments", "tokens"][i % 2], 8 * gpus * records[0].topK],
    ]),
  );
  for (const { gpus, tokensPerSecond, tokensPerSecondPerGpu, verifiedTokens } of records) {
    assert(verifiedTokens > 0);
    if (gpus > 1) assertEquals(tokensPerSecondPerGpu, tokensPerSecond / gpus);
  }
});

test("of the ranks of a launcher, only the first prints", async () => {
  await using ranks = await startRanks(await buildProduct(80, { checked: false }), 2, [cli, "bench", ...job, "--gpus", "2"]);
  const [first, second] = await ranks.outcomes;
  assertEquals([first?.code, second?.code], [0, 0], first?.stderr);
  assertMatch(first?.stdout ?? "", /^Output sum: .*\nKernel time: .*\nPeak GPU memory: .*\n$/);
  assertEquals([second?.stdout, second?.stderr], ["", ""]);
});

test("a rank that dies becomes a row, and the command ends", async () => {
  const { code, stdout } = await yamoe(["bench", ...job, "--gpus", "2", "--seed", "1,2", "--format", "json"], {
    YAMOE_NCCL: "die=40",
  });
  assertEquals(code, 1);
  for (const { status, reason } of JSON.parse(stdout)) {
    assertEquals(status, "failed");
    assertMatch(reason, /rank \d/);
  }
});

test("verify passes on two ranks", async () => {
  const { code, stdout, stderr } = await yamoe(
    "verify --gpus 2 --batch 2 --seq 32 --hidden 64 --experts 4".split(" "),
  );
  assertEquals(code, 0, stdout + stderr);
  assertEquals(stdout.trimEnd().split("\n").slice(1).filter((line) => !line.endsWith(" ok")), []);
});

test("wrong flags are refused", async () => {
  const refused = async (args: string, line: RegExp, granted?: string[]) => {
    const { code, stderr } = await yamoe(["bench", ...job, ...args.split(" ")], {}, granted);
    assertEquals(code, 2, stderr);
    assertMatch(stderr, line);
  };
  await refused("--gpus 2 --backend cpu", /--gpus N cannot be given together with --backend cpu/);
  await refused("--exchange tokens", /--exchange is for --gpus N/);
  await refused("--gpus 4096", /--gpus must be at most the number of experts/);
  await refused("--gpus 2", /--gpus needs the permissions --allow-net --allow-run/, [
    ...["ffi", "env", "read", "sys"].map((name) => `--allow-${name}`),
  ]);
});
