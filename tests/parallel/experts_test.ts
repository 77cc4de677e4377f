// Experts over several emulated GPUs: every rank is a process.
import { assertEquals, assertLess } from "@std/assert";
import { buildProduct } from "../cuda/emulated.ts";
import { errorBounds } from "../../src/verify/check.ts";
import { toolkit } from "../toolkit.ts";
import { startRanks } from "./ranks.ts";

const program = (name: string) => new URL(`./${name}_program.ts`, import.meta.url).pathname;

/** What a rank of the program prints. */
interface Result {
  readonly rank: number;
  /** The number of jobs whose bits differ from one GPU's. */
  readonly different: number;
  /** ‖error‖ / ‖result‖ over all jobs of a dtype, and that of one GPU. */
  readonly errors: Readonly<Record<keyof typeof errorBounds, readonly [number, number]>>;
  /** The bytes that are still allocated. */
  readonly live: number;
}

async function run<Type>(ranks: number, name: string, ...args: string[]): Promise<Type[]> {
  await using started = await startRanks(await buildProduct(80, { checked: false }), ranks, [program(name), ...args]);
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
    for (const { different, live } of await run<Result>(ranks, "jobs", "0", "200", "assignments")) {
      assertEquals([different, live], [0, 0]);
    }
  });

  test(`200 random jobs are within the bounds on ${ranks} ranks that exchange tokens`, async () => {
    for (const { errors, live } of await run<Result>(ranks, "jobs", "1000", "200", "tokens")) {
      for (const dtype of ["f16", "bf16", "f32"] as const) {
        const [error, single] = errors[dtype];
        // The error of few numbers varies around the bound, also on one GPU.
        assertLess(error, Math.max(errorBounds[dtype], 1.01 * single), dtype);
      }
      assertEquals(live, 0);
    }
  });

  test(`the goldens on ${ranks} ranks`, async () => {
    type Errors = { different: number; worst: number };
    for (const { different, worst } of await run<Errors>(ranks, "goldens", "assignments")) {
      assertEquals(different, 0);
      assertLess(worst, errorBounds.f16);
    }
    for (const { worst } of await run<Errors>(ranks, "goldens", "auto")) assertLess(worst, errorBounds.f16);
  });
}

test("the kernels around the exchange pass the checks of memory accesses", async () => {
  await using started = await startRanks(await buildProduct(80), 2, [program("jobs"), "0", "12", "assignments"]);
  for (const { code, stderr } of await started.outcomes) assertEquals(code, 0, stderr);
  await using tokens = await startRanks(await buildProduct(80), 2, [program("jobs"), "1000", "12", "tokens"]);
  for (const { code, stderr } of await tokens.outcomes) assertEquals(code, 0, stderr);
});

test("products of packed weights in large tiles run once for own tokens, beside the exchange", async () => {
  await using started = await startRanks(await buildProduct(90), 2, [program("packed")]);
  for (const { code, stdout, stderr } of await started.outcomes) {
    assertEquals(code, 0, stderr);
    // Both products, for own tokens and for those of the other rank.
    assertEquals(JSON.parse(stdout), { same: true, launches: 4 });
  }
});

for (const exchange of ["assignments", "tokens"]) {
  test(`whole layers, wrong calls and measurements, by ${exchange}`, async () => {
    for (const { failed } of await run<{ failed: string[] }>(3, "layers", exchange)) assertEquals(failed, []);
  });
}
