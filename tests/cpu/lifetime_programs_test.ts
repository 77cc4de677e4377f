import { openBackend } from "../../mod.ts";
import { testLifetimes } from "../lifetime_suite.ts";

// Outputs of 1 MiB and more have their memory recycled. With few, long rows, workers begin a call while others end the last.
const large = { tokens: 65, hidden: 32768, intermediate: 2 };

testLifetimes("cpu", () => openBackend("cpu", { threads: 4, blas: "none" }), { cases: 300, large });
