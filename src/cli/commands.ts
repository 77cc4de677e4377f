// The commands there are. Only the one that is asked for is loaded.
import type { CommandTable } from "./command.ts";

/** By name. */
export const commands: CommandTable = {
  bench: {
    summary: "Run synthetic jobs and print their output sum, time and memory",
    load: () => import("./bench.ts"),
  },
  compare: {
    summary: "Compare two files of records: what became faster, what slower, what cannot be told",
    load: () => import("./compare.ts"),
  },
  report: {
    summary: "Draw files of records: a page of charts and tables, or one chart as a picture",
    load: () => import("./report.ts"),
  },
  run: {
    summary: "Run a layer of a model's weights on an input, and write its output",
    load: () => import("./run.ts"),
  },
  verify: {
    summary: "Check the results against PyTorch's and float64, and that they repeat",
    load: () => import("./verify.ts"),
  },
  plan: {
    summary: "Show a job's kernel launches on a GPU, their work, and the least time and memory they take",
    load: () => import("./plan.ts"),
  },
  presets: {
    summary: "List the layers to begin from: their parameters, their work, and what bounds it on a GPU",
    load: () => import("./presets.ts"),
  },
  info: {
    summary: "Show the GPUs, the driver and the kernels chosen, or why there is no GPU, and the CPU",
    load: () => import("./info.ts"),
  },
  completions: {
    summary: "Print the script that completes this tool's command lines in bash, zsh or fish",
    load: () => import("./completions.ts"),
  },
  licenses: {
    summary: "Print the licenses of the software that this tool contains",
    load: () => import("./licenses.ts"),
  },
};
