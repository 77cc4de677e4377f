// Fails driver calls, one by one or all from one on, and checks what the caller sees and what stays allocated.
import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { BackendUnavailableError, CudaError } from "../../mod.ts";
import { bench } from "../../src/bench/bench.ts";
import { openCudaBackend } from "../../src/cuda/backend.ts";
import { loadImage } from "../../src/cuda/images/load.ts";
import { WorkerPool } from "../../src/wasm/worker_pool.ts";
import { makeJob } from "../../src/workload/workload.ts";
import { Control } from "../emulator/control.ts";
import { toolkit } from "../toolkit.ts";
import { buildProduct } from "./emulated.ts";

const job = makeJob("tiny", { batch: 1, seq: 6, hidden: 16, experts: 2, topK: 1 });

type Options = Parameters<typeof openCudaBackend>[0];

async function run(options: Options, engine: WorkerPool): Promise<number> {
  using backend = await openCudaBackend(options);
  return (await bench(job, backend, engine, { warmup: 2, iters: 2 })).outputSum;
}

/** The driver's error in what a call has thrown. While the backend opens, it is the cause of another error. */
function driverError(failure: unknown): CudaError {
  const error = failure instanceof BackendUnavailableError ? failure.cause : failure;
  assertInstanceOf(error, CudaError, `Expected a CudaError, got ${Deno.inspect(failure)}`);
  return error;
}

for (const arch of [80, 90]) {
  for (const persistent of [false, true]) {
    const calls = persistent ? "all driver calls of a bench from one on fail" : "one driver call of a bench fails";
    Deno.test({
      name: `sm_${arch}: if ${calls}, the first error is thrown, and the next run works and frees everything`,
      ignore: !toolkit,
      fn: async () => {
        // Without memory checks, because only the driver's calls matter here.
        const { library } = await buildProduct(arch, { checked: false });
        const control = new Control(library);
        const options = { library, image: await loadImage(`sm_${arch}`) };
        using engine = new WorkerPool(1);
        control.reset();
        control.reuseAddresses(true); // as a real allocator does, so that repeated calls run as graphs
        const sum = await run(options, engine);
        assertEquals(control.live, "");

        const failed = new Set<string>();
        for (let call = 1;; call += persistent ? 5 : 1) {
          const code = [1, 2, 400, 700, 999, 226, 911][call % 7]!;
          control.fail(call, code, persistent);
          const failure = await run(options, engine).then(
            (found) => void assertEquals(found, sum),
            (error: unknown) => error,
          );
          const api = !persistent ? control.failedCall : failure === undefined ? "" : driverError(failure).api;
          control.fail(0, 0);
          if (!api) {
            assertEquals(failure, undefined); // the run has fewer calls
            break;
          }
          failed.add(api);
          // Out of memory, the backend releases what it keeps and allocates again.
          if (failure === undefined && code === 2 && api === "cuMemAllocAsync") continue;
          const error = driverError(failure);
          assertEquals([error.api, error.code], [api, code], `call ${call}`);
          if (persistent) assertEquals(await run(options, engine), sum, `after call ${call}, ${api}`);
          assertEquals(control.live, "", `after call ${call}, ${api}`);
        }
        if (!persistent) {
          for (const api of ["cuGraphLaunch", "cuMemFreeAsync", "cuDevicePrimaryCtxRelease_v2"]) {
            assert(failed.has(api), api);
          }
        }
        assertEquals(await run(options, engine), sum);
        assertEquals(control.live, "");
      },
    });
  }
}
