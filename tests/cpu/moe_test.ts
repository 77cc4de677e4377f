import { openBackend } from "../../mod.ts";
import { testMoe } from "../moe_suite.ts";

testMoe("cpu", () => openBackend("cpu", { threads: 2 }));
