import { command } from "./command.ts";
import { choice, file } from "./flags.ts";

/** The charts that a picture can be of. */
export const chartNames = ["time", "memory", "improvement", "tflops", "tokens", "roofline", "load"] as const;

export default command({
  flags: {
    output: { ...file("FILE", "Where to: .html for a page, .svg for one chart; needed"), short: "o" },
    chart: choice("NAME", `The chart of an .svg: ${chartNames.join(", ")} (default: time)`, chartNames),
  },
  operands: "RUNS...",
  examples: {
    "yamoe report runs.json -o report.html": "One self-contained page, light or dark as the reader's system is",
    "yamoe report before.json after.json -o report.html": "Two files as two series, the second against the first",
    "yamoe report runs.json -o roofline.svg --chart roofline": "A picture for a document",
  },
  details: [
    "The files are what yamoe bench wrote with --output FILE.json or .jsonl, or printed with --json. The first size that",
    "varies, batch before seq before the rest, lies along the axis; everything else that varies makes series.",
  ],
  run: async (values, operands) => (await import("./report_run.ts")).run(values, operands),
});
