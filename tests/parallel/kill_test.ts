// Kills a rank at random moments. The others must end soon, each with one line that names it.
import { assertEquals, assertLess, assertMatch } from "@std/assert";
import { buildProduct } from "../cuda/emulated.ts";
import { SmallRandom } from "../small_random.ts";
import { toolkit } from "../toolkit.ts";
import { startRanks } from "./ranks.ts";

const program = new URL("./endless_program.ts", import.meta.url).pathname;

/** Starts ranks, waits until the victim has printed a line, kills it after a while, and returns what the others left. */
async function kill(ranks: number, victim: number, line: string, delay: number, ...args: string[]) {
  await using started = await startRanks(await buildProduct(80, { checked: false }), ranks, [program, ...args]);
  await started.printed(victim, line);
  await new Promise((resolve) => setTimeout(resolve, delay));
  const start = performance.now();
  try {
    started.processes[victim]?.kill("SIGKILL");
  } catch (cause) {
    const { code, stderr } = (await started.outcomes)[victim]!;
    throw new Error(`rank ${victim} ended by itself with code ${code}: ${stderr}`, { cause });
  }
  const outcomes = await started.outcomes;
  const milliseconds = performance.now() - start;
  return { milliseconds, others: outcomes.filter((_, rank) => rank !== victim) };
}

// A rank that ends before it has connected is missed when the time to join is over, so that is short there.
for (const [line, rounds, limit, timeout] of [["joined", 80, 2000, "60"], ["joining", 20, 3500, "1.5"]] as const) {
  Deno.test({
    name: `a rank that is killed within a second after "${line}", ${rounds} times`,
    ignore: !toolkit,
    async fn() {
      const random = new SmallRandom(rounds);
      // A rank that starts late finds that rank 0 has ended, and cannot know why.
      const named = (victim: number) =>
        line === "joining" ? `(${victim}|0 at [0-9.:]+: (Connection refused|it has ended))` : victim;
      for (let round = 0; round < rounds; round++) {
        const ranks = 2 + Math.floor(random.next() * 3), victim = Math.floor(random.next() * ranks);
        const delay = random.next() ** 3 * (line === "joined" ? 1000 : 200);
        const { milliseconds, others } = await kill(ranks, victim, line, delay, "endless", timeout);
        for (const { code, stderr } of others) {
          assertMatch(stderr, new RegExp(`^yamoe: [^\\n]*rank ${named(victim)}[^\\n]*\\n$`), `round ${round}`);
          assertEquals(code, 1);
        }
        assertLess(milliseconds, limit, `round ${round}`);
      }
    },
  });
}

Deno.test({
  name: "calls throw after a rank is lost, if the process is not to end by itself",
  ignore: !toolkit,
  async fn() {
    const { milliseconds, others } = await kill(3, 1, "joined", 100, "throw");
    for (const { code, stderr } of others) {
      assertEquals([code, stderr.trim()], [
        1,
        "yamoe: Cannot continue: rank 1 on " + Deno.hostname() + " has ended unexpectedly",
      ]);
    }
    assertLess(milliseconds, 2000);
  },
});

Deno.test({
  name: "a rank that leaves while the others need it ends them",
  ignore: !toolkit,
  async fn() {
    const emulator = await buildProduct(80, { checked: false });
    await using started = await startRanks(emulator, 3, [program, "leave"]);
    const outcomes = await started.outcomes;
    const line = `yamoe: rank 1 on ${Deno.hostname()} failed: it left while other ranks needed it\n`;
    assertEquals(outcomes.map(({ code, stderr }) => [code, stderr]), [[1, line], [0, ""], [1, line]]);
  },
});
