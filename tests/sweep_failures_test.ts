// Failures in a sweep: the first error is the message, every row runs on its own, and nothing stays open.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { type Backend, openBackend } from "../mod.ts";
import { provenance } from "../src/bench/provenance.ts";
import { Runner, sweep } from "../src/bench/sweep.ts";
import { makeJob } from "../src/workload/workload.ts";

const jobs = [1, 2, 3].map((batch) => makeJob("tiny", { batch, seq: 8, hidden: 32 }));
const plan = jobs.map((job) => ({ job, place: { backend: "cpu" as const, threads: 1 }, problem: null }));

/** What has been opened and closed, and what fails. */
interface Faults {
  opened: number;
  closed: number;
  /** The batches whose calls fail. */
  readonly calls: readonly number[];
  /** Whether outputs and backends cannot be disposed after a failure, as after a lost context. */
  readonly persistent: boolean;
}

/** Wraps a backend so that calls fail for some batches, and then everything else does. */
function faulty(backend: Backend, faults: Faults): Backend {
  let broken = false;
  faults.opened += 1;
  return new Proxy(backend, {
    get(target, name) {
      if (name === Symbol.dispose) {
        return () => {
          target[Symbol.dispose]();
          faults.closed += 1;
          if (broken) throw new Error("closing failed");
        };
      }
      const value = Reflect.get(target, name, target);
      if (name !== "experts") return typeof value === "function" ? value.bind(target) : value;
      return async (...args: Parameters<Backend["experts"]>) => {
        const batch = (args[0].hiddenStates.shape[0] ?? 0) / 8;
        if (!faults.calls.includes(batch)) return await target.experts(...args);
        using _workspace = {
          [Symbol.dispose]() {
            broken = faults.persistent;
            if (broken) throw new Error("freeing failed");
          },
        };
        throw new Error("the call failed");
      };
    },
  });
}

for (const persistent of [false, true]) {
  for (const calls of [[1], [2], [1, 2, 3], [1, 3]]) {
    const name = `rows ${calls.join(", ")}, ${persistent ? "with failing disposal" : "once"}`;
    Deno.test(`sweep() reports the first error of a failed call and runs the other rows (${name})`, async () => {
      const faults: Faults = { opened: 0, closed: 0, calls, persistent };
      const statuses: string[] = [];
      {
        using runner = new Runner({
          provenance: provenance(),
          open: async (_place, pool) => faulty(await openBackend("cpu", { pool }), faults),
          prepare: () => ({ warmup: 1, iters: 1 }),
        });
        for await (const { status, reason } of sweep(plan, runner, provenance())) statuses.push(reason ?? status);
      }
      assertEquals(statuses, [1, 2, 3].map((batch) => calls.includes(batch) ? "the call failed" : "ok"));
      assertEquals(faults.opened, faults.closed);
    });
  }
}

Deno.test("Runner throws the first error, and closes the place", async () => {
  const faults: Faults = { opened: 0, closed: 0, calls: [1], persistent: true };
  using runner = new Runner({
    provenance: provenance(),
    open: async (_place, pool) => faulty(await openBackend("cpu", { pool }), faults),
    prepare: () => ({ warmup: 1, iters: 1 }),
  });
  const [first] = plan;
  assert(first);
  await assertRejects(() => runner.run(first), Error, "the call failed");
  assertEquals(faults.closed, 1);
});
