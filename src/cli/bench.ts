import { formatNames } from "../report/format.ts";
import { command } from "./command.ts";
import { axes, axis, choice, file, type FlagValues, integer, positive, text, toggle } from "./flags.ts";
import { backendFlags, jobFlags, presetFlag } from "./job_flags.ts";

/** Flags of which every combination of values is a configuration. */
export const sweptFlags = { preset: axis(presetFlag("reference")), ...axes(jobFlags), ...axes(backendFlags) };

const flags = {
  ...sweptFlags,
  warmup: integer("N", "Calls before the timed ones (default: 5 on a GPU; on the CPU 0, in a sweep 1)", 0, 1_000_000),
  iters: integer("N", "Timed calls, or the least there are to be (default: 1; in a sweep at least 5)", 1, 1_000_000),
  "min-time": positive("SECONDS", "Go on for as long (default in a sweep: 0.2)"),
  "max-noise": positive("PERCENT", "Go on until the median is known as well as this (default in a sweep: 1)"),
  timeout: positive("SECONDS", "Stop after as long all the same (default in a sweep: 3)"),
  "no-verify": toggle("Do not check the output against float64 before timing"),
  format: choice("NAME", `Print records: ${formatNames.join(", ")}`, formatNames),
  json: toggle("Print one JSON object instead of three lines; of a sweep, an array"),
  output: { ...file("FILE", "Write the records to a file as well, in the format of its extension"), short: "o" },
  against: text("COMMAND", "Run another program that prints the three lines, too; {batch} and so on stand for sizes"),
  "against-timeout": positive("SECONDS", "How long that may take (default: 600)"),
  "dry-run": toggle("Print what would be run"),
  quiet: toggle("Print no notes and no progress"),
};

/** What the command line said. */
export type BenchValues = FlagValues<typeof flags>;

export default command({
  flags,
  examples: {
    "yamoe bench": "The reference job: 262,144 tokens, 32 experts, top 4",
    "yamoe bench --preset small --iters 5": "A job of seconds, the median of five calls",
    "yamoe bench --preset tiny --capacity none --json": "Nothing dropped; every figure, for a script",
    "yamoe bench --preset tiny --batch 1..64*2 --seq 16,32":
      "A sweep: a row for each of 14 configurations as it finishes",
    "yamoe bench --preset tiny --threads 1..2 --format csv --output threads.json":
      "Rows for a spreadsheet on standard output, everything in a file",
    "yamoe bench --preset tiny --batch 8 --max-noise 0.5 --timeout 20": "As many calls as a trustworthy median needs",
    "yamoe bench --backend cuda --iters 10 --against 'python3 seed.py'": "The original script's row beside ours",
    "yamoe bench --preset tiny,small --batch 1,1000000 --dry-run": "What would be run, and what does not fit",
  },
  details: [
    "Flags for sizes and places take several values: --batch 1,2,8, or --batch 1 --batch 2, or a range: 1..8 in steps of 1,",
    "1..9+4 in steps of 4, 1..64*2 in powers. Every combination is run. One that fails becomes a row with the reason,",
    "the rest go on, and the exit code is 1. Ctrl-C keeps the rows there are.",
    "",
    "The time is the median; its noise is half the width of its 95 % interval. On a GPU, sweeps also show the time with",
    "the L2 cache emptied before each call, and that of a call among many back to back.",
  ],
  run: async (values) => (await import("./bench_run.ts")).run(values),
});
