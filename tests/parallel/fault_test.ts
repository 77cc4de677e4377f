// Makes each call of NCCL fail once. Every rank must end with one clear line, and nothing must be left.
import { assert, assertEquals, assertMatch } from "@std/assert";
import { buildProduct } from "../cuda/emulated.ts";
import { toolkit } from "../toolkit.ts";
import { startRanks } from "./ranks.ts";

const program = new URL("./fault_program.ts", import.meta.url).pathname;

async function run(nccl: string) {
  const emulator = await buildProduct(80, { checked: false });
  await using started = await startRanks(emulator, 2, [program], () => ({ YAMOE_NCCL: nccl }));
  return await started.outcomes;
}

Deno.test({
  name: "faults of NCCL: each call fails once, on one of two ranks",
  ignore: !toolkit,
  async fn() {
    const outcomes = await run("");
    for (const { code, stderr } of outcomes) assertEquals([code, stderr], [0, ""]);
    const reports = outcomes.map(({ stdout }) => JSON.parse(stdout));
    for (const { live, communicators } of reports) assertEquals([live, communicators], ["", 0]);
    const faults = reports.flatMap(({ calls }, victim) =>
      Array.from({ length: calls }, (_, i) => ({ victim, call: i + 1 })).filter(({ call }) => call % 2 === victim)
    );
    assert(faults.length > 50);
    const next = faults.values();
    await Promise.all(Array.from({ length: 3 }, async () => {
      for (const fault of next) await check(fault);
    }));
  },
});

async function check({ victim, call }: { readonly victim: number; readonly call: number }): Promise<void> {
  const outcomes = await run(`rank=${victim},fail=${call},code=3`);
  const name = `rank ${victim}, call ${call}`;
  const { stdout = "", stderr = "", code } = outcomes[victim] ?? {};
  assertEquals(code, 1, name);
  assertMatch(
    stderr,
    /^yamoe: (Cannot start 2 ranks: )?nccl\w+ failed: ncclInternalError \(3\); an injected fault\n$/,
    name,
  );
  const { communicators, live } = JSON.parse(stdout);
  assertEquals([communicators, live], [0, ""], name);
  const other = outcomes[1 - victim];
  if (/ncclCommDestroy/.test(stderr) && other?.code === 0) return; // it had left before
  assertEquals(other?.code, 1, name);
  // A rank that could not join does not say why.
  const line = /^yamoe: [^\n]*(an injected fault|rank 1 did not arrive in time|rank 0 at)[^\n]*\n$/;
  assertMatch(other?.stderr ?? "", line, name);
}
