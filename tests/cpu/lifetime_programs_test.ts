import { openBackend } from "../../mod.ts";
import { testLifetimes } from "../lifetime_suite.ts";

// Outputs of 1 MiB and more have their memory recycled.
const large = { tokens: 1024, hidden: 256, intermediate: 4 };

testLifetimes("cpu", () => openBackend("cpu", { threads: 2, blas: "none" }), { cases: 300, large });
