import { assert, assertEquals } from "@std/assert";
import { buildLibrary } from "../../src/report/page/build.ts";
import licenses from "../../src/third_party_licenses.txt" with { type: "text" };

/** Reads a file of the repository. */
function read(path: string): Promise<string> {
  return Deno.readTextFile(new URL(`../../${path}`, import.meta.url));
}

Deno.test("library.ts is what `deno task build:charts` writes", async () => {
  // Not assertEquals: a difference in 800 KB of text takes minutes to print.
  assert(await buildLibrary() === await read("src/report/page/library.ts"), "run `deno task build:charts`");
});

Deno.test("the license file names every package that the charts and the executables contain", async () => {
  const { npm } = JSON.parse(await read("tests/deno.lock"));
  const packages = Object.keys(npm).map((name) => name.replace(/_.*/, ""));
  const developmentOnly = /^(assemblyscript|binaryen|fast-check|long|pure-rand)@/;
  const missing = packages.filter((name) => !developmentOnly.test(name) && !licenses.includes(`\n${name} (`));
  assertEquals(missing, []);
});
