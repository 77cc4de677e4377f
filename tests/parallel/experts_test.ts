// Experts over several emulated GPUs: every rank is a process.
import { assertEquals, assertLess } from "@std/assert";
import { buildProduct } from "../cuda/emulated.ts";
import { toolkit } from "../toolkit.ts";
import { startRanks } from "./ranks.ts";

const program = new URL("./jobs_program.ts", import.meta.url).pathname;

/** What a rank of the program prints. */
interface Result {
  readonly rank: number;
  /** The number of jobs whose bits differ from one GPU's. */
  readonly different: number;
  /** The largest ‖difference‖ / ‖result‖. */
  readonly worst: number;
  /** The bytes that are still allocated. */
  readonly live: number;
}

async function run(ranks: number, ...args: string[]): Promise<Result[]> {
  await using started = await startRanks(await buildProduct(80, { checked: false }), ranks, [program, ...args]);
  return (await started.outcomes).map(({ code, stdout, stderr }) => {
    assertEquals(code, 0, stderr);
    return JSON.parse(stdout);
  });
}

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name: `experts over emulated GPUs: ${name}`, ignore: !toolkit, fn });
}

for (const ranks of [1, 2, 3, 4]) {
  test(`200 random jobs have the bits of one GPU on ${ranks} ranks`, async () => {
    for (const result of await run(ranks, "0", "200", "assignments")) {
      assertEquals({ ...result, worst: 0 }, { rank: result.rank, different: 0, worst: 0, live: 0 });
    }
  });

  test(`the exchange of tokens gives the result of one GPU on ${ranks} ranks`, async () => {
    for (const { worst, live } of await run(ranks, "1000", "60", "tokens")) {
      assertLess(worst, 1e-3); // a bit of bf16 at most, in a few elements
      assertEquals(live, 0);
    }
  });
}

test("the kernels around the exchange pass the checks of memory accesses", async () => {
  await using started = await startRanks(await buildProduct(80), 2, [program, "0", "12", "assignments"]);
  for (const { code, stderr } of await started.outcomes) assertEquals(code, 0, stderr);
  await using tokens = await startRanks(await buildProduct(80), 2, [program, "1000", "12", "tokens"]);
  for (const { code, stderr } of await tokens.outcomes) assertEquals(code, 0, stderr);
});

for (const exchange of ["assignments", "tokens"]) {
  test(`whole layers, wrong calls and measurements, by ${exchange}`, async () => {
    const program = new URL("./layers_program.ts", import.meta.url).pathname;
    await using started = await startRanks(await buildProduct(80, { checked: false }), 3, [program, exchange]);
    for (const { code, stdout, stderr } of await started.outcomes) {
      assertEquals(code, 0, stderr);
      assertEquals(JSON.parse(stdout).failed, []);
    }
  });
}
