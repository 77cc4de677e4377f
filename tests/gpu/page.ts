// Measures the presets of today on this machine's GPU, and writes a file of records and their page:
// deno run -A tests/gpu/page.ts FOLDER [flags of bench…]
import { yamoe } from "../cli/yamoe.ts";

const [folder = ".", ...flags] = Deno.args;
const runs = `${folder}/runs.jsonl`;
await Deno.mkdir(folder, { recursive: true });
await Deno.writeTextFile(runs, ""); // without the rows of an earlier run

/** The page is for others: it does not contain the name of the host. */
const permissions = ["-A", "--deny-sys=hostname"];

/** Runs a sweep and keeps its records. A sweep with failed rows goes on. */
async function sweep(name: string, args: string): Promise<void> {
  const path = `${folder}/${name}.jsonl`;
  const all = ["--quiet", "--output", path, ...timing, ...args.split(" "), ...flags];
  const { code, stderr } = await yamoe(["bench", ...all], permissions);
  if (code > 1) throw new Error(stderr); // 1 means that some rows failed
  console.log(`${name}: exit code ${code} ${stderr.trim().split("\n").at(-1) ?? ""}`);
  await Deno.writeTextFile(runs, await Deno.readTextFile(path), { append: true });
  await Deno.remove(path);
}

const timing = "--iters 6 --min-time 0.05 --timeout 0.4 --dtype bf16 --profile".split(" ");
const tokens = "--tokens 1,16,64,256,1024,8192";
await sweep("gpt-oss-20b", `--preset gpt-oss-20b --weights dense,mxfp4 ${tokens}`);
await sweep("qwen3-30b-a3b", `--preset qwen3-30b-a3b ${tokens}`);
await sweep("layer", "--preset qwen3-30b-a3b --op moe --tokens 1,1024");
await sweep("skew", "--preset gpt-oss-20b --tokens 1024 --skew worst");
const page = `${folder}/page.html`;
const { code, stderr } = await yamoe(["report", runs, "-o", page], ["-A"]);
if (code !== 0) throw new Error(stderr);
console.log(`${(await Deno.stat(page)).size} bytes: ${page}`);
