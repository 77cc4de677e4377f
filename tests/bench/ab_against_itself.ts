// How often the interval of `yamoe bench --ab` contains 1 when both sides are the same, while the load of the machine changes.
// Run it with: deno run -A tests/bench/ab_against_itself.ts [runs] [flags of the job…]
import { yamoe } from "../cli/yamoe.ts";

const [given = "50", ...job] = Deno.args;
const runs = Number(given);
const flags = job.length > 0 ? job : ["--preset", "tiny", "--backend", "cpu", "--threads", "1"];

/** A program that keeps a core busy for a part of a second, then rests as long, again and again. */
const load = `const until = (t) => { while (performance.now() < t); };
while (true) { until(performance.now() + 900 * Math.random()); await new Promise((r) => setTimeout(r, 900 * Math.random())); }`;

using children = new DisposableStack();
const cores = navigator.hardwareConcurrency;
for (let i = 0; i < cores; i++) {
  const child = new Deno.Command(Deno.execPath(), { args: ["eval", load], stdin: "null" }).spawn();
  children.defer(() => child.kill("SIGKILL"));
}
let held = 0;
const ratios: number[] = [], widths: number[] = [];
for (let run = 0; run < runs; run++) {
  const { code, stdout, stderr } = await yamoe(
    ["bench", ...flags, "--ab", "", "", "--iters", "20", "--timeout", "1.5", "--no-verify", "--quiet", "--json"],
    ["--allow-ffi", "--allow-sys"],
  );
  if (code !== 0) throw new Error(stderr);
  const { ratio, ratioInterval: [low, high] } = JSON.parse(stdout);
  ratios.push(ratio);
  widths.push(high - low);
  if (low <= 1 && high >= 1) held += 1;
}
const median = (values: number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN;
console.log(
  `${held} of ${runs} intervals contain 1; median ratio ${median(ratios).toFixed(4)}, ` +
    `from ${Math.min(...ratios).toFixed(4)} to ${Math.max(...ratios).toFixed(4)}, median width ${
      median(widths).toFixed(4)
    }`,
);
if (held < 0.9 * runs) Deno.exit(1);
