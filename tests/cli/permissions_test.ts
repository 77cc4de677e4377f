// The tool in a terminal, with exactly the permissions that the README states: Deno never asks for another one.
import { assert, assertEquals, assertMatch } from "@std/assert";
import { splitCommand } from "../../src/bench/against.ts";
import { commands } from "../../src/cli/commands.ts";
import { commandLines, copyModel, permissionTable, statedPermissions } from "../readme.ts";
import { hasTerminal, inTerminal, type TerminalOutcome, yamoeInTerminal } from "./terminal.ts";

/** What a command prints, by its name. */
const printed: Readonly<Record<string, RegExp>> = {
  bench: /^Output sum: -?\d+\.\d{4}\n|"outputSum":-?\d|,outputSum,|time ms|median ms|\bbackend\b.*\bbatch\b/m,
  verify: /^the same bits in \d+ runs .* ok$/m,
  info: /^CPU: .*\n(No )?GPU/m,
  run: /output/i,
  inspect: /^hidden +intermediate/m,
  compare: /unclear|same|faster|slower/,
  report: /^(?!yamoe:)/,
  plan: /^Peak GPU memory: /m,
  presets: /gpt-oss-20b/,
  completions: /yamoe/,
  licenses: /license/i,
};

/** Command lines for every row of the README's table, in addition to those that the README shows. */
const furtherLines: readonly string[] = [
  "bench --preset tiny",
  "bench --preset tiny --backend cpu --json",
  'bench --preset tiny --ab "--threads 1" "--threads 2" --timeout 1',
  "bench --preset tiny --output out.json",
  "verify --preset tiny",
  "info",
  "plan --gpu h100",
  "presets",
  "inspect model",
  "completions zsh",
  "licenses",
];

/** Permissions that are less than the stated ones, with which the same commands work on the CPU. */
const partial: readonly (readonly string[])[] = [
  [],
  ["--allow-ffi=/usr/lib/x86_64-linux-gnu/libcuda.so.1"],
  ["--allow-sys=cpus"],
];

function checkOutcome(words: readonly string[], { code, output, prompts }: TerminalOutcome): void {
  const line = `yamoe ${words.join(" ")}`;
  assertEquals(prompts, [], `${line} asks for a permission:\n${output}`);
  if (code === 3 && words.includes("cuda")) {
    assertMatch(output, /Cannot (use|find|load) /, line);
    return;
  }
  assertEquals(code, 0, `${line}:\n${output}`);
  assertMatch(output, printed[words[0] ?? "bench"]!, line);
}

async function inFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await copyModel(folder);
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test({
  name: "in a terminal the README's commands never ask for a permission",
  ignore: !hasTerminal,
  fn: () =>
    inFolder(async (cwd) => {
      for (const { words, permissions } of commandLines) {
        // The reference job takes minutes.
        const isBench = (words[0] ?? "bench") === "bench";
        const isReference = isBench && !words.some((word) => /^--(preset|batch|help)/.test(word));
        const args = isReference ? [...words, "--dry-run"] : words;
        checkOutcome(args, await yamoeInTerminal(args, permissions, { cwd }));
      }
    }),
});

Deno.test({
  name: "in a terminal every command works with the stated permissions and never asks for another one",
  ignore: !hasTerminal,
  fn: () =>
    inFolder(async (cwd) => {
      for (const line of furtherLines) {
        const words = splitCommand(line);
        checkOutcome(words, await yamoeInTerminal(words, statedPermissions(words), { cwd }));
      }
      const shown = [...commandLines.map(({ words }) => words), ...furtherLines.map(splitCommand)];
      for (const name of Object.keys(commands)) {
        assert(shown.some(([command]) => command === name), `no test runs yamoe ${name}`);
        assert(
          [...permissionTable.keys()].some((key) => key.split(" ")[0] === name),
          `no permissions of yamoe ${name}`,
        );
      }
    }),
});

Deno.test({
  name: "in a terminal the tool uses the permissions that it has and never asks for more",
  ignore: !hasTerminal,
  async fn() {
    for (const permissions of partial) {
      for (const line of ["bench --preset tiny", "bench --preset tiny --batch 1,2 --iters 1", "info"]) {
        const words = line.split(" ");
        checkOutcome(words, await yamoeInTerminal(words, permissions));
      }
    }
  },
});

Deno.test({
  name: "in a terminal the library never asks for a permission",
  ignore: !hasTerminal,
  async fn() {
    const library = new URL("../../mod.ts", import.meta.url).href;
    const folder = await Deno.makeTempDir();
    try {
      const script = `
        import { openBackend } from ${JSON.stringify(library)};
        using backend = await openBackend("auto");
        console.log("opened", backend.name);
      `;
      await Deno.writeTextFile(`${folder}/open.ts`, script);
      const { code, output, prompts } = await inTerminal([Deno.execPath(), "run", `${folder}/open.ts`]);
      assertEquals([code, prompts], [0, []], output);
      assertMatch(output, /^opened (cpu|cuda)$/m);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

Deno.test({
  name: "in a terminal the task `bench` never asks for a permission, with --output too",
  ignore: !hasTerminal,
  async fn() {
    const cwd = new URL("../..", import.meta.url);
    const folder = await Deno.makeTempDir({ dir: cwd.pathname, prefix: ".test-" });
    try {
      const task = [Deno.execPath(), "task", "bench", "--preset", "tiny", "--output", `${folder}/x.json`];
      const { code, output, prompts } = await inTerminal(task, { cwd });
      assertEquals([code, prompts], [0, []], output);
      assert(Deno.statSync(`${folder}/x.json`).isFile);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
