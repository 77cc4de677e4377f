import { assert, assertEquals, assertStringIncludes } from "@std/assert";

const root = new URL("../../", import.meta.url);

/** Bytes as Deno writes them: 1.88MB. */
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

Deno.test("the executable has the workers' source, the WebAssembly and every cubin inside, and no npm package it does not use", async () => {
  // Deno itself stands for the runtime part, which only a network has: what is embedded is the same.
  const { code, stdout, stderr } = await compile("x86_64-unknown-linux-gnu", Deno.execPath());
  assertEquals(code, 0, stderr);
  const sizes = new Map(
    [...stdout.matchAll(/([\w./*@-]+) \(([\d.]+[KM]?B)\)/g)].map(([, name, size]) => [name!, bytes(size!)]),
  );
  let cubins = 0;
  for (const { name } of Deno.readDirSync(new URL("src/cuda/images/built", root))) {
    cubins += Deno.statSync(new URL(`src/cuda/images/built/${name}`, root)).size;
  }
  assert(sizes.get("built/*")! > 0.99 * cubins, `${sizes.get("built/*")} of ${cubins} bytes of cubins`);
  assert(sizes.get("kernels.ts")! >= Deno.statSync(new URL("src/wasm/kernels.ts", root)).size * 0.99);
  for (const name of ["cli.ts", "cli/*", "tasks/*", "worker_pool.ts", "report/*"]) {
    assert(sizes.has(name), `${name}:\n${stdout}`);
  }
  assert(!/assemblyscript|binaryen|fast-check/.test(stdout), "a build tool is embedded");
  const path = stdout.match(/^Wrote (.+)$/m)![1]!;
  assert(Deno.statSync(path).isFile);
  await Deno.remove(path);
});

Deno.test("compile says so where the runtime part cannot be had, and refuses targets there are not", async () => {
  const missing = await compile("aarch64-apple-darwin", "/nowhere/denort");
  assertEquals(missing.code, 1);
  assertStringIncludes(
    missing.stderr,
    "Cannot compile for aarch64-apple-darwin: the runtime part of Deno could not be had",
  );
  const unknown = await compile("riscv64", Deno.execPath());
  assertEquals(unknown.code, 2);
  assertStringIncludes(unknown.stderr, "The targets are x86_64-unknown-linux-gnu");
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
