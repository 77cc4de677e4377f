// What every backend must do, on this machine's GPU. Not among the tests: `deno task gpu:check` runs it.
import { openCudaBackend } from "../../src/cuda/backend.ts";
import { testBackend } from "../backend_suite.ts";
import { testMoe } from "../moe_suite.ts";

testBackend("this GPU", () => openCudaBackend());
testMoe("this GPU", () => openCudaBackend(), { multiple: 8 });
