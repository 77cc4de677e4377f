import { openBackend } from "../../mod.ts";
import { testIndices } from "../indices_suite.ts";

testIndices("cpu", () => openBackend("cpu", { threads: 1, blas: "none" }));
