// Measures the presets of today on this machine's GPU, and writes a file of records and their page:
// deno run -A tests/gpu/page.ts FOLDER [flags of bench…]
import { yamoe } from "../cli/yamoe.ts";

const [folder = ".", ...flags] = Deno.args;
const records: string[] = [];
await Deno.mkdir(folder, { recursive: true });

/** Runs a sweep and keeps its records. A sweep with failed rows goes on. */
async function sweep(name: string, args: readonly string[]): Promise<void> {
  const path = `${folder}/${name}.jsonl`;
  await Deno.remove(path).catch(() => {}); // from an earlier run
  const { code, stderr } = await yamoe(["bench", "--quiet", "--output", path, ...args, ...flags], ["-A"]);
  console.log(`${name}: exit code ${code} ${stderr.trim().split("\n").at(-1) ?? ""}`);
  await Deno.readTextFile(path).then((text) => records.push(text), () => console.log(`${name}: no records`));
}

const timeout = flags.includes("--timeout") ? [] : ["--timeout", "0.6"];
const timing = [...timeout, ..."--iters 6 --dtype bf16 --profile".split(" ")];
for (const preset of ["gpt-oss-20b", "qwen3-30b-a3b", "mixtral-8x7b"]) {
  await sweep(preset, ["--preset", preset, "--tokens", "1,16,64,256,1024,8192", ...timing]);
}
await sweep("layer", ["--preset", "qwen3-30b-a3b", "--op", "moe", "--tokens", "1,64,1024", ...timing]);
await sweep("skew", ["--preset", "gpt-oss-20b", "--tokens", "1024", "--skew", "1,worst", ...timing]);
await Deno.writeTextFile(`${folder}/runs.jsonl`, records.join(""));
const { code, stderr } = await yamoe(["report", `${folder}/runs.jsonl`, "-o", `${folder}/page.html`], ["-A"]);
if (code !== 0) throw new Error(stderr);
console.log(`${(await Deno.stat(`${folder}/page.html`)).size} bytes: ${folder}/page.html`);
