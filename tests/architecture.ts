// Checks the structure of the source: no circular imports, no import against the order of the folders, no long file, and no
// package in deno.lock that only development needs.
// `deno task check` runs it. Imports of values, imports of types and `import()` count alike.
import config from "../deno.json" with { type: "json" };

/** Folders and files from top to bottom. Each one imports only from itself and from those below it. */
export const order: readonly string[] = [
  "cli.ts",
  "src/cli/",
  "src/report/",
  "src/bench/",
  "src/verify/",
  "mod.ts",
  "src/parallel/",
  "src/ops/",
  "src/open_backend.ts",
  "src/release/",
  "cuda/",
  "src/cuda/",
  "src/cuda/plan/",
  "src/cuda/driver/",
  "src/cuda/images/",
  "src/nccl/",
  "src/world/",
  "src/cpu/",
  "src/workload/",
  "src/models/",
  "src/backend/",
  "src/contract/",
  "src/routing/",
  "src/nvml/",
  "src/torch/",
  "src/wasm/",
  "src/safetensors/",
  "src/tensor/",
  "src/",
];

/** Folders that do not import from each other although both are in the order. */
export const independent: readonly (readonly [string, string])[] = [["src/cpu/", "src/cuda/"]];

/** The most lines that a hand-written source file has. */
export const maximumLines = 350;

/** The files that each file imports. Paths are relative to the root of the repository. */
export type Imports = ReadonlyMap<string, readonly string[]>;

/** Returns one message for each group of files that import each other. */
export function findCircles(imports: Imports): string[] {
  const reachable = new Map([...imports.keys()].map((file) => [file, reach(file, imports)]));
  const found = new Set<string>();
  for (const [file, reached] of reachable) {
    if (!reached.has(file)) continue;
    const circle = [...reached].filter((other) => reachable.get(other)?.has(file));
    found.add(`These files import each other: ${circle.toSorted().join(", ")}`);
  }
  return [...found];
}

/** Returns one message for each import that the order does not allow, and for each file outside the order. */
export function findClimbs(imports: Imports): string[] {
  const messages: string[] = [];
  for (const [file, targets] of imports) {
    const from = position(file);
    if (from < 0) messages.push(`${file} is not in the order of the folders`);
    for (const target of targets) {
      const to = position(target);
      const climbs = to >= 0 && to < from;
      const crosses = independent.some((pair) =>
        pair.some((folder, i) => file.startsWith(folder) && target.startsWith(pair[1 - i] ?? ""))
      );
      if (climbs || crosses) messages.push(`${file} imports ${target}, which is not below it`);
    }
  }
  return messages;
}

/** Returns one message for each file of more than {@linkcode maximumLines} lines. */
export function findLongFiles(lines: ReadonlyMap<string, number>): string[] {
  return [...lines].filter(([, count]) => count > maximumLines)
    .map(([file, count]) => `${file} has ${count} lines, more than ${maximumLines}`);
}

/** Returns one message for each package that the lock file pins and the tool itself does not import. */
export function findDevelopmentPackages(locked: readonly string[], imported: readonly string[]): string[] {
  return locked.filter((name) => !imported.some((specifier) => specifier.startsWith(`npm:${name}/`))).map((name) =>
    `deno.lock pins ${name}, which every user would download: restore deno.lock and use --lock tests/deno.lock`
  );
}

/** Every file that `file` imports, directly or through others. */
function reach(file: string, imports: Imports): Set<string> {
  const reached = new Set<string>();
  const pending = [file];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    for (const target of imports.get(next) ?? []) {
      if (!reached.has(target)) pending.push(target);
      reached.add(target);
    }
  }
  return reached;
}

/** The index of the longest entry of the order that contains the file, or -1. */
function position(file: string): number {
  const entries = order.filter((entry) => entry.endsWith("/") ? file.startsWith(entry) : file === entry);
  return order.indexOf(entries.toSorted((a, b) => b.length - a.length)[0] ?? "");
}

/** Runs a program in the root of the repository and returns its standard output. */
async function run(program: string, ...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(program, { args, cwd: new URL("..", import.meta.url) })
    .output();
  if (!success) throw new Error(`Cannot run ${program} ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout);
}

/** Lists the files of the repository that match, except generated ones. */
async function listFiles(...patterns: string[]): Promise<string[]> {
  const files = await run("git", "ls-files", "--cached", "--others", "--exclude-standard", "--", ...patterns);
  const exclude = ["-z", "linguist-generated", "--", ...files.trim().split("\n")];
  const attributes = (await run("git", "check-attr", ...exclude)).split("\0");
  return attributes.filter((_, i) => i % 3 === 0 && attributes[i + 2] === "unspecified");
}

/** Reads the imports of all modules of the product, as Deno resolves them. */
async function readImports(): Promise<Imports> {
  const imports = new Map<string, readonly string[]>();
  const root = new URL("..", import.meta.url).href;
  for (const file of await listFiles("*.ts", ":!tests", ":!src/wasm/assembly")) {
    if (imports.has(file)) continue;
    const { modules } = JSON.parse(await run(Deno.execPath(), "info", "--json", "--lock", "tests/deno.lock", file));
    for (const { specifier, dependencies = [] } of modules as Module[]) {
      if (!specifier.startsWith(root) || !/\.[jt]s$/.test(specifier)) continue;
      const targets = dependencies.flatMap(({ code, type }) => [code?.specifier, type?.specifier])
        .filter((target) => target?.startsWith(root)).map((target) => target?.slice(root.length) ?? "");
      imports.set(specifier.slice(root.length), [...new Set(targets)]);
    }
  }
  return imports;
}

/** A module as `deno info --json` describes it. */
interface Module {
  readonly specifier: string;
  readonly dependencies?: readonly { readonly code?: Target; readonly type?: Target }[];
}

/** What an import resolves to. */
interface Target {
  readonly specifier?: string;
}

/** Counts the lines of all hand-written source files. */
async function countLines(): Promise<ReadonlyMap<string, number>> {
  const files = await listFiles(...["ts", "js", "cu", "cuh", "cpp", "h", "py"].map((extension) => `*.${extension}`));
  const root = new URL("..", import.meta.url);
  const counts = files.map(async (file) => {
    const text = await Deno.readTextFile(new URL(file, root));
    return [file, text.split("\n").length - 1] as const;
  });
  return new Map(await Promise.all(counts));
}

if (import.meta.main) {
  const imports = await readImports();
  const { npm } = JSON.parse(await Deno.readTextFile(new URL("../deno.lock", import.meta.url)));
  const messages = [
    ...findCircles(imports),
    ...findClimbs(imports),
    ...findLongFiles(await countLines()),
    ...findDevelopmentPackages(Object.keys(npm), Object.values(config.imports)),
  ];
  for (const message of messages) console.error(message);
  console.log(`Checked the imports of ${imports.size} files`);
  if (messages.length > 0) Deno.exit(1);
}
