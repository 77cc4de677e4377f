// Checks and measures experts over several GPUs of one host, in one run: bits against one GPU, times against one GPU with the tokens of
// all, the rates of the exchanges beside those of NCCL alone, and a rank that is killed. Prints JSON lines and a table.
//
//   deno run -A tests/gpu/ranks.ts --nccl PATH [--gpus 2,4,8] [--preset NAME,NAME] [--tokens 64,1024,8192] [--kill 2]
import { parseArgs } from "@std/cli/parse-args";
import { type PresetName, presets } from "../../src/models/presets.ts";
import { runRank } from "./rank.ts";

const options = parseArgs(Deno.args, {
  string: ["nccl", "gpus", "preset", "tokens", "kill", "rank", "mode", "port", "calls"],
  default: {
    gpus: "2",
    preset: "gpt-oss-20b",
    tokens: "64,1024,8192",
    kill: "2",
    mode: "measure",
    calls: "30",
  },
}) as unknown as
  & Record<"nccl" | "gpus" | "preset" | "tokens" | "kill" | "mode" | "port" | "calls", string>
  & {
    readonly rank?: string;
  };
const numbers = (list: string) => list.split(",").map(Number);

if (options.rank !== undefined) {
  const names = options.preset.split(",").filter((name): name is PresetName => name in presets);
  await runRank({
    ...{ rank: Number(options.rank), ranks: Number(options.gpus), port: Number(options.port), nccl: options.nccl },
    ...{
      presets: names,
      tokens: numbers(options.tokens),
      mode: options.mode,
      calls: Number(options.calls),
    },
  });
  Deno.exit(0);
}

/** Starts all ranks. */
function start(gpus: number, mode: string, port: number): Deno.ChildProcess[] {
  return Array.from({ length: gpus }, (_, rank) =>
    new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "-A", "--no-check", "--no-prompt", new URL(import.meta.url).pathname],
        ...Object.entries({ ...options, gpus, mode, port, rank }).filter(([name]) => name !== "_")
          .map(([name, value]) => `--${name}=${value}`),
      ],
      env: { NCCL_NVLS_ENABLE: "0", NVSHMEM_DISABLE_NVLS: "1" },
      stdout: rank === 0 && mode === "measure" ? "inherit" : "piped",
      stderr: mode === "measure" ? "inherit" : "piped",
      stdin: "null",
    }).spawn());
}

for (const [g, gpus] of numbers(options.gpus).entries()) {
  const port = 29621 + 50 * g;
  const codes = await Promise.all(start(gpus, "measure", port).map(async (child) => (await child.status).code));
  console.log(JSON.stringify({ gpus, codes }));
  for (let i = 0; i < Number(options.kill); i++) await killRank(gpus, port + 5 * (i + 1), 300 + 211 * i);
}

/** Kills the last rank while all compute, and prints how soon and how rank 0 ends. */
async function killRank(gpus: number, port: number, delay: number): Promise<void> {
  const [first, ...others] = start(gpus, "loop", port);
  if (!first) throw new RangeError("--gpus must be at least 2");
  const reader = first.stdout.getReader();
  await reader.read(); // it is in its loop
  await new Promise((resolve) => setTimeout(resolve, delay));
  const killed = performance.now();
  others.at(-1)?.kill("SIGKILL");
  const { code } = await first.status;
  const milliseconds = performance.now() - killed;
  const stderr = (await new Response(first.stderr).text()).trim();
  await Promise.all(others.map(({ status }) => status));
  console.log(JSON.stringify({ killed: gpus - 1, code, milliseconds: Math.round(milliseconds), line: stderr }));
}
