// The suites that every backend must pass, on this machine's GPU. `deno task gpu:check` runs this file; `deno task test` does not.
import { openCudaBackend } from "../../src/cuda/backend.ts";
import { testBackend } from "../backend_suite.ts";
import { testIndices } from "../indices_suite.ts";
import { testLifetimes } from "../lifetime_suite.ts";
import { testMoe } from "../moe_suite.ts";
import { packedSuite } from "../packed_suite.ts";

const open = () => openCudaBackend();

testBackend("this GPU", open);
testMoe("this GPU", open, { multiple: 8 });
testIndices("this GPU", open);
testLifetimes("this GPU", open, { cases: 1000 });

Deno.test("this GPU: random jobs with packed weights have the bits of decoded weights", async () => {
  using backend = await open();
  await packedSuite(backend, 20);
});
