import { assertEquals } from "@std/assert";
import { findCircles, findClimbs, findDevelopmentPackages, findLongFiles, type Imports } from "./architecture.ts";

const sound: Imports = new Map([
  ["cli.ts", ["src/cli/main.ts"]],
  ["src/cli/main.ts", ["src/tensor/tensor.ts", "src/cuda/backend.ts", "deno.json"]],
  ["src/cuda/backend.ts", ["src/cuda/plan/tiles.ts"]],
  ["src/cuda/plan/tiles.ts", ["src/tensor/tensor.ts"]],
  ["src/tensor/tensor.ts", ["src/text.ts"]],
]);

Deno.test("the architecture check accepts imports that follow the order", () => {
  assertEquals(findCircles(sound), []);
  assertEquals(findClimbs(sound), []);
});

Deno.test("the architecture check finds a circle across several files", () => {
  const imports = new Map([...sound, ["src/text.ts", ["src/cuda/plan/tiles.ts"]]]);
  assertEquals(findCircles(imports), [
    "These files import each other: src/cuda/plan/tiles.ts, src/tensor/tensor.ts, src/text.ts",
  ]);
});

Deno.test("the architecture check finds a file that imports itself", () => {
  assertEquals(findCircles(new Map([["src/text.ts", ["src/text.ts"]]])).length, 1);
});

Deno.test("the architecture check finds an import that climbs", () => {
  for (
    const [from, to] of [
      ["src/text.ts", "src/tensor/tensor.ts"],
      ["src/cuda/plan/tiles.ts", "src/cuda/backend.ts"],
      ["src/ops/experts.ts", "mod.ts"],
    ] as const
  ) {
    assertEquals(findClimbs(new Map([[from, [to]]])), [`${from} imports ${to}, which is not below it`]);
  }
});

Deno.test("the architecture check finds imports between the two backends, in both directions", () => {
  const imports = new Map([["src/cuda/a.ts", ["src/cpu/b.ts"]], ["src/cpu/b.ts", ["src/cuda/images/c.ts"]]]);
  assertEquals(findClimbs(imports).length, 2);
});

Deno.test("the architecture check finds a file outside the order", () => {
  assertEquals(findClimbs(new Map([["extra.ts", []]])), ["extra.ts is not in the order of the folders"]);
});

Deno.test("the architecture check finds a file that is too long", () => {
  assertEquals(findLongFiles(new Map([["src/a.ts", 350], ["src/b.ts", 351]])), [
    "src/b.ts has 351 lines, more than 350",
  ]);
});

Deno.test("the architecture check finds a package that only development needs", () => {
  const imported = ["npm:deno-std@1.4.0/assert/mod.js"];
  assertEquals(findDevelopmentPackages(["deno-std@1.4.0"], imported), []);
  assertEquals(findDevelopmentPackages(["deno-std@1.4.0", "fast-check@4.10.2"], imported).length, 1);
});
