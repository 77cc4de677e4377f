// A sweep on a GPU whose driver fails for a while: each row reports its own error, and nothing is lost or leaks.
import { assertEquals, assertMatch } from "@std/assert";
import { provenance } from "../../src/bench/provenance.ts";
import { Runner, sweep } from "../../src/bench/sweep.ts";
import { openCudaBackend } from "../../src/cuda/backend.ts";
import { makeJob } from "../../src/workload/workload.ts";
import { Control } from "../emulator/control.ts";
import { toolkit } from "../toolkit.ts";
import { buildProduct } from "./emulated.ts";

const job = (batch: number) => makeJob("tiny", { batch, seq: 6, hidden: 16, experts: 2, topK: 1 });
const place = { backend: "cuda" as const, threads: 1 };
const configurations = [1, 2, 3].map((batch) => ({ job: job(batch), place, problem: null }));
const origin = provenance();

Deno.test({
  name: "sm_80: a driver that fails during one row of a sweep fails this row with its first error, and no other",
  ignore: !toolkit,
  fn: async () => {
    const { library } = await buildProduct(80, { checked: false });
    const control = new Control(library);
    /** Runs the sweep. The driver fails from a call of the first row on, once or until the row is written. */
    const run = async (call: number, code: number, persistent: boolean) => {
      control.reset();
      const statuses: string[] = [];
      let made = 0;
      {
        using runner = new Runner({
          provenance: origin,
          open: () => openCudaBackend({ library }),
          prepare: () => ({ warmup: 1, iters: 1 }),
        });
        await runner.open(place);
        control.fail(call, code, persistent);
        for await (const record of sweep(configurations, runner, origin)) {
          made = statuses.length === 0 ? control.calls : made;
          control.fail(0, 0);
          statuses.push(record.status === "ok" ? "ok" : String(record.reason));
        }
      }
      return { statuses, calls: made };
    };
    const { calls, statuses } = await run(0, 0, false);
    assertEquals([statuses, control.live], [["ok", "ok", "ok"], ""]);
    for (const persistent of [false, true]) {
      for (let call = 1; call <= calls; call += 29) {
        for (const [code, name] of [[999, "UNKNOWN"], [721, "TENSOR_MEMORY_LEAK"]] as const) {
          const { statuses: [first, ...others] } = await run(call, code, persistent);
          assertMatch(first!, new RegExp(`^cu\\w+ failed: CUDA_ERROR_${name} \\(${code}\\)`), `call ${call}`);
          assertEquals(others, ["ok", "ok"], `call ${call}`);
          assertEquals(control.live, "", `call ${call}`);
        }
      }
    }
  },
});
