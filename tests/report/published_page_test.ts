// The page of an H100 and an H200 that the repository has.
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { yamoe } from "../cli/yamoe.ts";

const folder = "fixtures/benchmark";
const runs = ["h100", "h200"].map((card) => `${folder}/${card}.jsonl`);

Deno.test("the page of the repository is what `yamoe report` makes of its records", async () => {
  const made = await Deno.makeTempDir();
  try {
    const path = `${made}/page.html`;
    const { code, stderr } = await yamoe(["report", ...runs, "-o", path], [`-R=${folder},${made}`, `-W=${made}`]);
    assertEquals(code, 0, stderr);
    const [page, published] = await Promise.all([path, `${folder}/page.html`].map((path) => Deno.readTextFile(path)));
    assert(page === published, `run: deno run -RW cli.ts report ${runs.join(" ")} -o ${folder}/page.html`);
    assert((page?.length ?? 0) < 400_000);
    for (const title of ["Limiting kernel", "Time over its floor", "Packed weights", "Arithmetic limits from"]) {
      assertStringIncludes(page ?? "", `<h3>${title}</h3>`);
    }
  } finally {
    await Deno.remove(made, { recursive: true });
  }
});

Deno.test("the records of the repository are whole, of both cards, and name no host and no path", async () => {
  for (const path of runs) {
    const rows = (await Deno.readTextFile(path)).trimEnd().split("\n").map((line) => JSON.parse(line));
    assert(rows.every(({ status, host, backend }) => status === "ok" && host === null && backend === "cuda"));
    assert(rows.every(({ commandLine }) => !/ \//.test(commandLine)));
    for (const { profile, percentOfPeak } of rows) {
      assert(profile.length > 0 && percentOfPeak <= 100);
      for (const { milliseconds, floorMs } of profile) {
        assert(floorMs <= milliseconds, "a kernel is faster than its floor");
      }
    }
    assert(rows.every(({ verifyError }) => verifyError < 0.01));
  }
});
