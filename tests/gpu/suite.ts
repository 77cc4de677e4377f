// The suites that every backend must pass, on this machine's GPU. `deno task gpu:check` runs this file; `deno task test` does not.
import { openCudaBackend } from "../../src/cuda/backend.ts";
import { testBackend } from "../backend_suite.ts";
import { testMoe } from "../moe_suite.ts";

testBackend("this GPU", () => openCudaBackend());
testMoe("this GPU", () => openCudaBackend(), { multiple: 8 });
