import { assert, assertEquals, assertStringIncludes } from "@std/assert";

const root = new URL("../../", import.meta.url);

/** Parses a size as Deno prints it, for example 1.88MB. */
function bytes(text: string): number {
  const [, number, unit] = text.match(/^([\d.]+)(B|KB|MB)$/)!;
  return Number(number) * { B: 1, KB: 1024, MB: 1024 ** 2 }[unit as "B"];
}

async function compile(target: string, denort: string): Promise<{ code: number; stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["task", "compile", target],
    cwd: root,
    env: { DENORT_BIN: denort, NO_COLOR: "1" },
  }).output();
  return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}

/** Parses the tree of embedded files: bytes by path. A folder that is embedded whole is one entry, `folder/*`. */
function embeddedFiles(tree: string): Map<string, number> {
  const files = new Map<string, number>(), folders: string[] = [];
  for (const [, indent, branch, name, size] of tree.matchAll(/^((?:[│ ] )*)[├└]─([─┬]) (\S+) \(([\d.]+[KM]?B)/gm)) {
    folders.length = indent!.length / 2;
    if (branch === "┬") folders.push(name!);
    else files.set([...folders, name].join("/"), bytes(size!));
  }
  return files;
}

interface Dependency {
  readonly code?: { readonly specifier: string };
}
interface ModuleGraph {
  readonly modules: readonly { specifier: string; size?: number; dependencies?: readonly Dependency[] }[];
}

/** Returns the project's modules that the tool can load, lazily imported ones included: bytes by path. */
async function modulesOfTool(): Promise<Map<string, number>> {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json", "cli.ts"], cwd: root })
    .output();
  const { modules } = JSON.parse(new TextDecoder().decode(stdout)) as ModuleGraph;
  const bySpecifier = new Map(modules.map((module) => [module.specifier, module]));
  const found = new Map<string, number>(), pending = [new URL("cli.ts", root).href];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const path = next.slice(root.href.length), module = bySpecifier.get(next);
    if (!next.startsWith(root.href) || !module || found.has(path)) continue;
    found.set(path, module.size ?? 0);
    pending.push(...(module.dependencies ?? []).flatMap(({ code }) => code ? [code.specifier] : []));
  }
  return found;
}

Deno.test("the executable contains every module of the tool, workers and cubins included, and no unused npm package", async () => {
  // The runtime part needs a download, so Deno itself takes its place. The embedded files are the same.
  const { code, stdout, stderr } = await compile("x86_64-unknown-linux-gnu", Deno.execPath());
  assertEquals(code, 0, stderr);
  const embedded = embeddedFiles(stdout), expected = new Map<string, number>();
  const modules = await modulesOfTool();
  for (const [path, size] of modules) {
    const parts = path.split("/");
    const folders = parts.slice(1).map((_, i) => `${parts.slice(0, i + 1).join("/")}/*`);
    const entry = [path, ...folders].find((entry) => embedded.has(entry));
    assert(entry !== undefined, `${path} is not embedded:\n${stdout}`);
    expected.set(entry, (expected.get(entry) ?? 0) + size);
  }
  for (const [entry, size] of expected) {
    assert(embedded.get(entry)! > 0.99 * size, `${entry} has ${embedded.get(entry)} of ${size} bytes`);
  }
  const images = "src/cuda/images/built/";
  for (const { name } of Deno.readDirSync(new URL(images, root))) assert(modules.has(images + name), name);
  assert(!/assemblyscript|binaryen|fast-check/.test(stdout), "the executable contains a build tool");
  const path = stdout.match(/^Wrote (.+)$/m)![1]!;
  assert(Deno.statSync(path).isFile);
  await Deno.remove(path);
});

Deno.test("compile reports a missing runtime part and refuses unknown targets", async () => {
  const missing = await compile("aarch64-apple-darwin", "/nowhere/denort");
  assertEquals(missing.code, 1);
  assertStringIncludes(
    missing.stderr,
    "Cannot compile for aarch64-apple-darwin: the runtime part of Deno could not be downloaded",
  );
  const unknown = await compile("riscv64", Deno.execPath());
  assertEquals(unknown.code, 2);
  assertStringIncludes(unknown.stderr, 'Unknown target "riscv64": expected one of x86_64-unknown-linux-gnu');
});

Deno.test("the package is under 5 MB", async () => {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["publish", "--dry-run", "--allow-dirty", "--no-check"],
    cwd: root,
    env: { NO_COLOR: "1" },
  }).output();
  const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  assert(success, text);
  const files = [...text.matchAll(/file:\/\/\S+ \(([\d.]+[KM]?B)\)/g)].map(([, size]) => bytes(size!));
  assert(files.length > 50, text);
  assert(files.reduce((sum, size) => sum + size, 0) < 5 * 1024 ** 2);
});
