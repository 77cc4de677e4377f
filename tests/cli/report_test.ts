import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { toJson } from "../../src/report/json.ts";
import { record } from "../records.ts";
import { words, yamoe } from "./yamoe.ts";

Deno.test("yamoe report writes a page or a picture, and refuses what it cannot", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const allow = [`--allow-read=${folder}`, `--allow-write=${folder}`];
    const runs = `${folder}/runs.jsonl`;
    await Deno.writeTextFile(runs, [1, 2].map((batch) => toJson(record([batch], { batch }))).join("\n"));
    const html = await yamoe(["report", runs, "-o", `${folder}/report.html`], allow);
    assertEquals(html, { code: 0, stdout: "", stderr: `Wrote ${folder}/report.html\n` });
    assertMatch(await Deno.readTextFile(`${folder}/report.html`), /^<!DOCTYPE html>[^]*<\/html>\n$/);
    const svg = await yamoe(["report", runs, "--output", `${folder}/memory.svg`, "--chart", "memory"], allow);
    assertEquals(svg.code, 0, svg.stderr);
    assertStringIncludes(await Deno.readTextFile(`${folder}/memory.svg`), "Memory");

    const refused: Record<string, string> = {
      "-o report.html": "yamoe report needs files of records, got none",
      [runs]: "yamoe report needs --output FILE, ending in .html or .svg",
      [`${runs} -o report.pdf`]: '--output must end in .html or .svg, got "report.pdf"',
      [`${runs} -o report.html --chart time`]: "--chart is for an .svg file",
      [`${runs} -o ${folder}/x.svg --chart roofline`]: 'Cannot draw the chart "roofline"',
      [`${folder}/report.html -o ${folder}/x.svg`]: "it is not valid JSON and may be cut off",
      [`${folder}/absent.json -o ${folder}/x.svg`]:
        `yamoe: Cannot read ${folder}/absent.json: No such file or directory`,
    };
    for (const [line, message] of Object.entries(refused)) {
      const { code, stdout, stderr } = await yamoe(["report", ...words(line)], allow);
      assertEquals({ code, stdout }, { code: 2, stdout: "" }, stderr);
      assertStringIncludes(stderr, message);
    }
    assertEquals([...Deno.readDirSync(folder)].length, 3);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
