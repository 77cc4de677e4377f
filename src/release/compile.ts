// Compiles the tool into one executable for each target. It contains the workers, the WebAssembly and the cubins. Deno
// downloads its runtime part for the target from dl.deno.land, unless DENORT_BIN names one.
import { version } from "../version.ts";

const targets = [
  "x86_64-unknown-linux-gnu",
  "aarch64-unknown-linux-gnu",
  "x86_64-apple-darwin",
  "aarch64-apple-darwin",
  "x86_64-pc-windows-msvc",
];

/** The permissions of the executable: not the network, and of the environment only what says what the terminal can show. */
const permissions = [
  "--allow-ffi",
  "--allow-sys=systemMemoryInfo,cpus",
  "--allow-read",
  "--allow-write",
  "--allow-run",
  "--allow-env=TERM,CI",
];

const root = new URL("../../", import.meta.url);

/** Compiles for one target and returns the path of the executable, or undefined if that fails. */
async function compile(target: string, folder: string): Promise<string | undefined> {
  const path = `${folder}/yamoe-${version}-${target}${target.includes("windows") ? ".exe" : ""}`;
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["compile", "--no-prompt", "--exclude-unused-npm", ...permissions, "--target", target, "--output", path],
      "cli.ts",
    ],
    cwd: root,
  }).output();
  const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  if (success) {
    console.log(text.slice(text.indexOf("Embedded Files")));
    return path;
  }
  console.error(
    /dl\.deno\.land|denort|download|error sending request/i.test(text)
      ? `Cannot compile for ${target}: the runtime part of Deno could not be downloaded from dl.deno.land. ` +
        "Run this on a machine that reaches that host, or set DENORT_BIN to the path of a denort for the target"
      : `Cannot compile for ${target}:\n${text}`,
  );
  return undefined;
}

if (import.meta.main) {
  const chosen = Deno.args.length > 0 ? Deno.args : targets;
  const unknown = chosen.find((target) => !targets.includes(target));
  if (unknown !== undefined) {
    console.error(`Unknown target "${unknown}": expected one of ${targets.join(", ")}`);
    Deno.exit(2);
  }
  const folder = new URL("dist", root).pathname;
  await Deno.mkdir(folder, { recursive: true });
  let failed = 0;
  for (const target of chosen) {
    const path = await compile(target, folder);
    if (path) console.log(`Wrote ${path}`);
    else failed += 1;
  }
  Deno.exit(failed > 0 ? 1 : 0);
}
