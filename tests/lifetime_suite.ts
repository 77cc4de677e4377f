// The lifetimes of tensors on a backend, as random programs. Each backend's tests run this. In CI a part of the cases runs;
// YAMOE_LIFETIME_CASES=10000 runs all.
import { assertEquals } from "@std/assert";
import type { Backend } from "../mod.ts";
import { type ProgramSizes, runProgram } from "./lifetime_program.ts";
import { SmallRandom } from "./small_random.ts";

/** Options of {@linkcode testLifetimes}. */
export interface LifetimeOptions {
  readonly ignore?: boolean;
  /** The number of cases in CI. */
  readonly cases: number;
  /** The sizes of one in 50 cases, for a backend that treats large tensors in another way. */
  readonly large?: ProgramSizes;
}

/** The cases of one backend; then it is closed and another is opened. */
const casesPerBackend = 200;

/** A case that takes longer hangs. */
const deadlineMilliseconds = 120_000;

/** Registers the test. */
export function testLifetimes(
  title: string,
  open: () => Promise<Backend>,
  { ignore = false, cases, large }: LifetimeOptions,
): void {
  const permitted = Deno.permissions.querySync({ name: "env", variable: "YAMOE_LIFETIME_CASES" }).state === "granted";
  const count = Number((permitted ? Deno.env.get("YAMOE_LIFETIME_CASES") : undefined) ?? cases);
  Deno.test({
    name: `${title}: ${count} random programs give the right bytes, leak nothing and end`,
    ignore,
    fn: async () => {
      for (let first = 0; first < count; first += casesPerBackend) {
        using backend = await open();
        for (let seed = first; seed < Math.min(count, first + casesPerBackend); seed++) {
          const random = new SmallRandom(~seed);
          const small = { tokens: random.integer(0, 6), hidden: 8 * random.integer(1, 2), intermediate: 8 };
          const [sizes, steps] = large && seed % 50 === 0 ? [large, 6] : [small, random.integer(3, 16)];
          await withDeadline(seed, runProgram(backend, seed, sizes, steps));
        }
        assertEquals(backend.memory.liveBytes, 0);
      }
    },
  });
}

async function withDeadline(seed: number, run: Promise<void>): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error("the program hangs")), deadlineMilliseconds);
  try {
    await Promise.race([run, promise]);
  } catch (cause) {
    throw new Error(`Seed ${seed}: ${cause instanceof Error ? cause.message : cause}`, { cause });
  } finally {
    clearTimeout(timer);
  }
}
