import { verdicts } from "../compare.ts";
import { command } from "./command.ts";
import { axis, choice, positive } from "./flags.ts";

const flags = {
  threshold: positive("PERCENT", "Change that still counts as none (default: 1)"),
  "fail-on": axis(choice("VERDICT", `End with 1 if there is one such: ${verdicts.join(", ")}`, verdicts)),
  format: choice("NAME", "Print text, markdown or json (default: text)", ["text", "markdown", "json"] as const),
};

export default command({
  flags,
  operands: "BEFORE AFTER",
  examples: {
    "yamoe compare before.json after.json": "What a change did to every configuration that both files have",
    "yamoe compare main.json branch.json --fail-on slower,missing": "In CI: end with 1 where something became slower",
    "yamoe compare cpu.json gpu.json --format markdown": "A table for a page",
  },
  details: [
    "The files are what yamoe bench wrote with --output FILE.json or .jsonl, or printed with --json. Each change has a range,",
    "from the 95 % intervals of both medians: all of it below 0 is faster, all above slower, a change within the threshold same,",
    "anything else unclear, and so is whatever ran only once. A configuration that only one file has is missing.",
  ],
  run: async (values, operands) => (await import("./compare_run.ts")).run(values, operands),
});
