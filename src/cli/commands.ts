// The commands. Only the one that is asked for is loaded.
import type { CommandTable } from "./command.ts";

/** The commands by name. */
export const commands: CommandTable = {
  bench: {
    summary: "Time a layer with drawn weights or a checkpoint's, and print its output sum, time and memory",
    load: () => import("./bench.ts"),
  },
  compare: {
    summary: "Compare two files of records: what became faster, slower or stayed the same",
    load: () => import("./compare.ts"),
  },
  report: {
    summary: "Draw files of records: a page of charts and tables, or one chart as a picture",
    load: () => import("./report.ts"),
  },
  run: {
    summary: "Run a layer of a model on an input and write its output",
    load: () => import("./run.ts"),
  },
  inspect: {
    summary: "List a checkpoint's layers with experts, how each would be computed, and why one cannot be run",
    load: () => import("./inspect.ts"),
  },
  verify: {
    summary: "Check results against PyTorch and float64, and that every run gives the same bits",
    load: () => import("./verify.ts"),
  },
  plan: {
    summary: "Show a job's kernel launches on a GPU with their work, minimum time and memory",
    load: () => import("./plan.ts"),
  },
  presets: {
    summary: "List the layers of known models: their parameters, their work, and what limits them on a GPU",
    load: () => import("./presets.ts"),
  },
  info: {
    summary: "Show the CPU, the GPUs, the driver and the chosen kernels, or why no GPU can be used",
    load: () => import("./info.ts"),
  },
  completions: {
    summary: "Print a script that completes command lines of this tool in bash, zsh or fish",
    load: () => import("./completions.ts"),
  },
  licenses: {
    summary: "Print the licenses of the software that this tool contains",
    load: () => import("./licenses.ts"),
  },
};
