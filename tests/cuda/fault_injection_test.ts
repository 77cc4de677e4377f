import { assert, assertEquals } from "@std/assert";
import { CudaError } from "../../mod.ts";
import { bench } from "../../src/bench/bench.ts";
import { openCudaBackend } from "../../src/cuda/backend.ts";
import { WorkerPool } from "../../src/wasm/worker_pool.ts";
import { makeJob } from "../../src/workload/workload.ts";
import { Control } from "../emulator/control.ts";
import { toolkit } from "../toolkit.ts";
import { buildProduct } from "./emulated.ts";

const job = makeJob("tiny", { batch: 1, seq: 6, hidden: 16, experts: 2, topK: 1 });

/** All errors in what was thrown: disposal may add to what went wrong first. */
function flatten(error: unknown): unknown[] {
  return error instanceof SuppressedError ? [...flatten(error.error), ...flatten(error.suppressed)] : [error];
}

async function run(library: string, engine: WorkerPool): Promise<number> {
  using backend = await openCudaBackend({ library });
  return (await bench(job, backend, engine, { warmup: 2, iters: 2 })).outputSum;
}

for (const arch of [80, 90]) {
  Deno.test({
    name:
      `sm_${arch}: every driver call of a bench, made to fail, gives its own error, leaves nothing behind, and the next run works`,
    ignore: !toolkit,
    fn: async () => {
      // Without checks: here it is the driver's calls that matter.
      const { library } = await buildProduct(arch, { checked: false });
      const control = new Control(library);
      using engine = new WorkerPool(1);
      control.reset();
      control.reuseAddresses(true); // as a real allocator does, so that the graphs of repeated calls are part of it
      const sum = await run(library, engine);
      assertEquals(control.live, "");

      const failed = new Set<string>();
      for (let call = 1;; call++) {
        const code = [1, 2, 400, 700, 999][call % 5]!;
        control.fail(call, code);
        const failure = await run(library, engine).then(() => undefined, (error: unknown) => error);
        const api = control.failedCall;
        control.fail(0, 0);
        if (api === "") {
          assertEquals(failure, undefined); // the run has fewer calls
          break;
        }
        failed.add(api);
        assert(
          flatten(failure).some((error) => error instanceof CudaError && error.api === api && error.code === code),
          `call ${call}, ${api}: ${Deno.inspect(failure)}`,
        );
        assertEquals(control.live, "", `after call ${call}, ${api}`);
      }
      assert(failed.has("cuGraphLaunch") && failed.has("cuMemFreeAsync") && failed.has("cuDevicePrimaryCtxRelease_v2"));
      assertEquals(await run(library, engine), sum);
      assertEquals(control.live, "");
    },
  });
}
