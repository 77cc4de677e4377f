// Every preset, with small sizes and few experts, gives the same results on an emulated GPU as on the CPU.
import { assertEquals, assertLessOrEqual } from "@std/assert";
import { openBackend } from "../../mod.ts";
import { type PresetName, presets } from "../../src/models/presets.ts";
import { WorkerPool } from "../../src/wasm/worker_pool.ts";
import { drawInputs, jobOptions, makeJob } from "../../src/workload/workload.ts";
import { relativeError } from "../fixtures.ts";
import { toolkit } from "../toolkit.ts";
import { emulated, openEmulated } from "./emulated.ts";

/** Enough experts for eight groups and a top-8. */
const small = { batch: 2, seq: 8, hidden: 128, intermediate: 64, experts: 16 };

for (const name of Object.keys(presets) as PresetName[]) {
  Deno.test({
    name: `cuda, ${emulated}: a small ${name} layer agrees with the CPU`,
    ignore: !toolkit,
    fn: async () => {
      using engine = new WorkerPool(2);
      const job = makeJob(name, small);
      const outputs = [];
      for (
        const open of [
          () => openBackend("cpu", { pool: engine, blas: "none" }),
          async () => (await openEmulated(80)).backend,
        ]
      ) {
        using backend = await open();
        using workload = await drawInputs(job, backend, engine);
        using output = await backend.experts(workload.inputs, jobOptions(job));
        outputs.push((await backend.download(output)).data);
      }
      const [cpu, gpu] = outputs;
      assertEquals(gpu!.length, small.batch * small.seq * small.hidden);
      // Each is within 3.7e-4 of the exact result.
      assertLessOrEqual(relativeError(gpu!, cpu!), 7.4e-4);
    },
  });
}
