// How good are the checks? Plants one-token faults into the kernels, one at a time, and lists those that nothing notices:
// `deno task mutate [every-nth] [file]`. A survivor must be explained in survivors.ts; one that is not fails the job.
import { kernelSources } from "../cuda/emulated.ts";
import { buildEmulator, type Emulator } from "./build.ts";
import { explanations } from "./survivors.ts";

/** What is exchanged for what. */
const exchanges: readonly (readonly [RegExp, string])[] = [
  [/ < (?!<)/, " <= "],
  [/ <= /, " < "],
  [/ > (?!>)/, " >= "],
  [/ >= /, " > "],
  [/ == /, " != "],
  [/ && /, " || "],
  [/ \+ /, " - "],
  [/ - /, " + "],
  [/ \* /, " + "],
  [/ % /, " / "],
  [/ & (?!&)/, " | "],
  [/ \^ /, " | "],
  [/ >> /, " << "],
  [/ << /, " >> "],
  [/\bmin\(/, "max("],
  [/\b0\b/, "1"],
  [/\b1\b/, "0"],
  [/\b1\b/, "2"],
  [/\b2\b/, "1"],
  [/\b8\b/, "4"],
  [/\b16\b/, "8"],
  [/\b32\b/, "16"],
  [/__syncthreads\(\);/, ""],
  [/__syncwarp\(\);/, ""],
  [/cp_async_wait<[^;]*;/, ""],
  [/cp_async_wait<Tile::kStages - 2>/, "cp_async_wait<Tile::kStages - 1>"],
  [/cp_async_commit\(\);/, ""],
  [/__fdividef\(/, "fmaxf("],
];

interface Mutant {
  readonly file: string;
  readonly line: number;
  readonly before: string;
  readonly after: string;
  readonly text: string;
}

const folder = new URL("../../cuda/", import.meta.url).pathname;
const files = [...Deno.readDirSync(folder)].map(({ name }) => name)
  .filter((name) => /\.cuh?$/.test(name) && name !== "ptx.cuh" && name !== "kernels.cu").sort();

function* mutants(file: string): Iterable<Mutant> {
  const lines = Deno.readTextFileSync(folder + file).split("\n");
  for (const [i, before] of lines.entries()) {
    const code = before.replace(/\/\/.*$/, "");
    if (/^\s*(#|static_assert|template|using|struct|namespace|extern|constexpr int k)/.test(code)) continue;
    for (const [from, to] of exchanges) {
      for (const match of code.matchAll(new RegExp(from, "g"))) {
        const after = before.slice(0, match.index) + to + before.slice(match.index + match[0].length);
        yield { file, line: i + 1, before: before.trim(), after: after.trim(), text: lines.with(i, after).join("\n") };
      }
    }
  }
}

/** What became of a mutant. */
async function outcome(emulator: Emulator): Promise<string> {
  const command = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", new URL("./mutant.ts", import.meta.url).pathname, emulator.library],
    stdout: "piped",
    stderr: "null",
    signal: AbortSignal.timeout(120_000),
  });
  const { stdout, signal } = await command.output();
  return signal ? `caught: ended by ${signal}` : new TextDecoder().decode(stdout).trim();
}

async function build(mutant?: Mutant): Promise<Emulator | undefined> {
  const replaced = mutant ? { [folder + mutant.file]: mutant.text } : {};
  return await buildEmulator({ arch: 80, sources: kernelSources, replaced, checked: true }).catch(() => undefined);
}

const [nth = "1", only] = Deno.args;
const expected = await outcome((await build())!);
if (!/^[0-9a-f]{64}$/.test(expected)) throw new Error(`The kernels as they are: ${expected}`);

const all = files.filter((file) => !only || file === only).flatMap((file) => [...mutants(file)]);
const chosen = all.filter((_, i) => i % Number(nth) === 0);
const counts = { "do not compile": 0, "caught by a check": 0, "caught by the result": 0, explained: 0, unexplained: 0 };
const work = async () => {
  for (let mutant = chosen.shift(); mutant; mutant = chosen.shift()) {
    const { file, line, before, after } = mutant;
    const emulator = await build(mutant);
    const result = emulator ? await outcome(emulator) : "";
    if (emulator) await Deno.remove(emulator.folder, { recursive: true });
    if (!emulator) counts["do not compile"] += 1;
    else if (result.startsWith("caught") || result === "") counts["caught by a check"] += 1;
    else if (result !== expected) counts["caught by the result"] += 1;
    else {
      const reason = explanations.find((entry) => entry.before === before && entry.after.includes(after))?.reason;
      counts[reason ? "explained" : "unexplained"] += 1;
      console.log(
        `${reason ? "explained" : "SURVIVOR"} ${file}:${line}\n  - ${before}\n  + ${after}${
          reason ? `\n  ${reason}` : ""
        }`,
      );
    }
  }
};
await Promise.all([work(), work()]);
// What caught the mutants must have been their faults, not a change to the files meanwhile.
const still = await outcome((await build())!);
if (still !== expected) throw new Error(`The kernels as they are no longer pass: ${still}`);
console.log(Object.entries(counts).map(([what, count]) => `${count} ${what}`).join(", "));
if (counts.unexplained > 0) Deno.exit(1);
