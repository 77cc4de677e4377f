// Ranks that meet, do not fit together, fail or end. They need no GPU; the fake NCCL is only opened.
import { assert, assertEquals, assertLess, assertStringIncludes } from "@std/assert";
import { buildEmulator, type Emulator } from "../emulator/build.ts";
import { type RankOutcome, startRanks } from "../parallel/ranks.ts";
import { toolkit } from "../toolkit.ts";

const program = new URL("./member_program.ts", import.meta.url).pathname;

function emulator(): Promise<Emulator> {
  return buildEmulator({
    ...{ arch: 80, checked: false },
    sources: [new URL("../../cuda/ops.cu", import.meta.url).pathname],
  });
}

async function run(
  ranks: number,
  what: string,
  env: (rank: number) => Record<string, string> = () => ({}),
): Promise<RankOutcome[]> {
  const { library } = await emulator();
  await using started = await startRanks(await emulator(), ranks, [program, library, what], env);
  return await started.outcomes;
}

function errorOf({ stdout }: RankOutcome): string {
  return JSON.parse(stdout).error;
}

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name: `ranks: ${name}`, ignore: !toolkit, fn });
}

test("all receive the id and each other's values", async () => {
  for (const { code, stdout, stderr } of await run(4, "")) {
    assertEquals([code, stderr], [0, ""]);
    const { values, members } = JSON.parse(stdout);
    assertEquals(values, [0, 1, 2, 3].map((rank) => ({ rank, id: 7 })));
    assertEquals(members, Array(4).fill("here"));
  }
});

test("a rank of another size, version or NCCL, or with a GPU that another one uses, ends all", async () => {
  for (
    const [variables, message] of [
      [{ WORLD_SIZE: "4" }, "rank 2 has the world size 4, but rank 0 has 3"],
      [{ NCCL_VERSION: "22703" }, "rank 2 has NCCL 2.27.3, but rank 0 has 2.28.9"],
      [{ GPU: "GPU-0" }, "ranks 0 and 2 use the same GPU of here, GPU-0; each rank needs its own"],
    ] as const
  ) {
    const outcomes = await run(3, "", (rank) => rank === 2 ? { ...variables } : {});
    assertEquals(errorOf(outcomes[0] as RankOutcome), `Cannot start 3 ranks: ${message}`);
    for (const outcome of outcomes.slice(1)) assertStringIncludes(errorOf(outcome), message);
  }
});

test("a rank with another secret is refused, and the others say which rank is missing", async () => {
  const [zero, one, two] = await run(3, "", (rank) => rank === 2 ? { YAMOE_SECRET: "wrong" } : {});
  assert(zero && one && two);
  assertEquals(errorOf(zero), "Cannot start 3 ranks: rank 2 did not arrive in time");
  assertStringIncludes(errorOf(one), ": rank 2 did not arrive in time");
  assertStringIncludes(errorOf(two), ": the secret differs from that of rank 0");
});

test("a rank that waits for nobody ends after the timeout", async () => {
  const [alone] = await run(1, "", () => ({ RANK: "1", WORLD_SIZE: "2" }));
  assert(alone);
  assertStringIncludes(errorOf(alone), "Cannot join rank 0 at 127.0.0.1:");
});

test("the others end with one line when a rank ends, or says why it failed", async () => {
  for (
    const [what, line] of [
      ["die", "yamoe: rank 1 on here has ended unexpectedly\n"],
      ["fail", "yamoe: rank 1 on here failed: out of memory\n"],
    ] as const
  ) {
    const start = performance.now();
    const outcomes = await run(4, what);
    assertLess(performance.now() - start, 8000);
    for (const [rank, { code, stderr }] of outcomes.entries()) {
      if (rank !== 1) assertEquals([code, stderr], [1, line]);
    }
  }
});

test("a rank that leaves does not end the others", async () => {
  for (const { code, stderr } of await run(3, "leave")) assertEquals([code, stderr], [0, ""]);
});

test("strangers are ignored", async () => {
  const { library } = await emulator();
  const port = "28731";
  const started = await startRanks(
    await emulator(),
    1,
    [program, library],
    () => ({ WORLD_SIZE: "2", MASTER_PORT: port }),
  );
  await using zero = started;
  for (let i = 0; i < 3; i++) {
    using stranger = await connect(Number(port));
    await stranger.write(new TextEncoder().encode(["GET / HTTP/1.1\r\n\r\n", "\n\n", '{"member":1}\n'][i]));
  }
  await using one = await startRanks(await emulator(), 1, [program, library], () => ({
    ...{ RANK: "1", WORLD_SIZE: "2", MASTER_PORT: port, GPU: "GPU-1" },
  }));
  for (const { code, stderr } of [...await zero.outcomes, ...await one.outcomes]) assertEquals([code, stderr], [0, ""]);
});

async function connect(port: number): Promise<Deno.TcpConn> {
  for (let i = 0;; i++) {
    try {
      return await Deno.connect({ hostname: "127.0.0.1", port });
    } catch (error) {
      if (i > 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
