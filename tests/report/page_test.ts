import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { charts } from "../../src/report/page/charts.ts";
import { arrange, type SourcedRecord } from "../../src/report/page/dataset.ts";
import { page } from "../../src/report/page/html.ts";
import { improvements } from "../../src/report/page/improvement.ts";
import { picture } from "../../src/report/page/picture.ts";
import { failure, record } from "../records.ts";

const peaks = {
  peakTflops: 0.5,
  peakGigabytesPerSecond: 20,
  peakSource: "measured",
  percentOfPeak: 40,
  boundBy: "compute",
} as const;

/** A sweep of two series and a configuration that failed. */
const records: SourcedRecord[] = [
  ...[1, 2, 4].flatMap((batch) => [16, 64].map((seq) => record([batch * seq, batch * seq + 1], { batch, seq }, peaks))),
  failure("out of <memory> & time", { batch: 8 }),
].map((one) => ({ ...one, source: "runs" }));

Deno.test("arrange() puts the batch along the axis and the rest into series", () => {
  const { axis, series, points } = arrange(records);
  assertEquals([axis.key, points.length], ["batch", 6]);
  assertEquals(series.map(({ name, points }) => [name, points.map(({ batch }) => batch)]), [
    ["seq 16", [1, 2, 4]],
    ["seq 64", [1, 2, 4]],
  ]);
  assertEquals(arrange(records.filter(({ batch, seq }) => batch === 2 && seq === 16)).axis.key, "batch");
  assertEquals(arrange(records.filter(({ batch }) => batch === 2)).axis.key, "seq");
});

Deno.test("improvements() are over the first file, else over the first place of the axis", () => {
  const alone = improvements(arrange(records));
  assertEquals(alone.points.filter(({ point }) => point.batch === 1).map(({ factor }) => factor), [1, 1]);
  const twice = records.filter(({ status }) => status === "ok").flatMap((one) => [
    { ...one, source: "before" },
    { ...one, source: "after", kernelTimeMs: one.kernelTimeMs! / 2 },
  ]);
  const both = improvements(arrange(twice));
  assertEquals(both.label, "Times faster than before");
  for (const { point, factor } of both.points) assertEquals(factor, point.source === "after" ? 2 : 1);
});

Deno.test("every chart is drawn, as a page's part and as a picture of its own", () => {
  const html = page(records);
  for (const name of Object.keys(charts) as (keyof typeof charts)[]) {
    assertStringIncludes(html, `<figure id="${name}">`);
    const svg = picture(name, records);
    assertMatch(svg, /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg"/);
    assert(!/NaN|undefined|Infinity/.test(svg), `${name} has a figure that is none`);
  }
  assertEquals(html.match(/aria-label="dot"/g)?.length, 6);
});

Deno.test("the page needs nothing from elsewhere and has every record, failures escaped", () => {
  const html = page(records);
  assert(!/(src|href)="(?!data:)|@import|url\(|<script/.test(html), "the page refers to something");
  assertEquals(html.match(/<tr(?: class="(best|failed)")?><td/g)?.length, records.length);
  assertEquals(html.match(/<tr class="best">/g)?.length, 1);
  assertStringIncludes(html, "failed: out of &lt;memory&gt; &amp; time");
  assertStringIncludes(html, "Arithmetic");
  assert(!/NaN|undefined|Infinity/.test(html));
});

Deno.test("a picture of what the records do not have is refused", () => {
  assertThrows(
    () => picture("roofline", records.map((one) => ({ ...one, peakTflops: null }))),
    RangeError,
    '"roofline"',
  );
});

/** A browser, if there is one. */
const browser = ["chromium", "chromium-browser", "google-chrome"].find((name) => {
  try {
    return new Deno.Command(name, { args: ["--version"], stdout: "null", stderr: "null" }).outputSync().success;
  } catch {
    return false;
  }
});

Deno.test({
  name: "a browser draws the page and a picture, both themes and two widths, without a word on its console",
  ignore: !browser,
  fn: async () => {
    const folder = await Deno.makeTempDir();
    try {
      // A script that a page of ours does not have tells on errors, by the page's title, and on what is wider than the page.
      const probe = `<script>addEventListener("load", () => {
        const { scrollWidth, clientWidth } = document.documentElement;
        const drawn = document.querySelectorAll("figure svg path, figure svg circle").length;
        const dark = getComputedStyle(document.body).backgroundColor;
        document.title = ["probe", scrollWidth <= clientWidth, drawn, dark].join(" ");
      });</script>`;
      await Deno.writeTextFile(`${folder}/page.html`, page(records).replace("</head>", `${probe}</head>`));
      await Deno.writeTextFile(`${folder}/picture.svg`, picture("time", records));
      const open = async (file: string, width: number, dark: boolean) => {
        const { stdout, stderr } = await new Deno.Command(browser!, {
          args: [
            ...[
              "--headless",
              "--no-sandbox",
              "--disable-gpu",
              "--enable-logging=stderr",
              `--user-data-dir=${folder}/profile`,
            ],
            ...[`--window-size=${width},900`, ...(dark ? ["--blink-settings=preferredColorScheme=0"] : [])],
            ...["--dump-dom", `file://${folder}/${file}`],
          ],
        }).output();
        const log = new TextDecoder().decode(stderr).split("\n").filter((line) => line.includes("CONSOLE"));
        assertEquals(log, []);
        return new TextDecoder().decode(stdout);
      };
      for (const [width, dark] of [[500, false], [1280, true]] as const) {
        const dom = await open("page.html", width, dark);
        const [, fits, drawn, background] = dom.match(/<title>probe (\w+) (\d+) (.+)<\/title>/)!;
        assertEquals([fits, background], ["true", dark ? "rgb(20, 23, 27)" : "rgb(255, 255, 255)"]);
        assert(Number(drawn) > 40);
      }
      assertStringIncludes(await open("picture.svg", 500, false), "Milliseconds");
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
