import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { charts } from "../../src/report/page/charts.ts";
import { arrange, type Point, type SourcedRecord } from "../../src/report/page/dataset.ts";
import { page } from "../../src/report/page/html.ts";
import { improvements } from "../../src/report/page/improvement.ts";
import { picture } from "../../src/report/page/picture.ts";
import { efficiencyIn, linkFloor } from "../../src/report/page/scaling.ts";
import { failure, record } from "../records.ts";

const peaks = {
  peakTflops: 0.5,
  peakGigabytesPerSecond: 20,
  peakSource: "measured",
  percentOfPeak: 40,
  boundBy: "compute",
  profile: [
    { kernel: "sort", milliseconds: 0.1, floorMs: null, flops: 0, bytes: 0 },
    { kernel: "gate_up_product_with_a_long_name", milliseconds: 30, floorMs: 20, flops: 1e10, bytes: 1e8 },
    { kernel: "down_product", milliseconds: 20, floorMs: 10, flops: 5e9, bytes: 5e7 },
  ],
} as const;

/** A sweep of two series and a configuration that failed. */
const records: SourcedRecord[] = [
  ...[1, 2, 4].flatMap((batch) => [16, 64].map((seq) => record([batch * seq, batch * seq + 1], { batch, seq }, peaks))),
  failure("out of <memory> & time", { batch: 8 }),
].map((one) => ({ ...one, source: "runs" }));

/** The charts that need records over several GPUs. */
const gpuCharts = ["scaling", "efficiency"];

Deno.test("arrange() puts the batch along the axis and the rest into series", () => {
  const { axis, panels, points } = arrange(records);
  assertEquals([axis.keys, points.length, panels.length], [["batch"], 6, 1]);
  assertEquals(panels[0]?.series.map(({ name, points }) => [name, points.map(({ batch }) => batch)]), [
    ["seq 16", [1, 2, 4]],
    ["seq 64", [1, 2, 4]],
  ]);
  assertEquals(arrange(records.filter(({ batch }) => batch === 2)).axis.keys, ["batch", "seq"]);
  const files = [
    ...[1, 2].map((batch) => ({ ...record([1], { batch, seq: 64 }), source: "a" })),
    ...[16, 32].map((seq) => ({ ...record([1], { batch: 1, seq }), source: "b" })),
  ];
  assertEquals(arrange(files).axis.keys, ["batch", "seq"]);
  assertEquals(seriesNames(files), { "": ["a", "b"] });
  const threads = [1, 2].map((threads) => ({ ...record([1], {}, { threads }), source: "a" }));
  assertEquals(arrange(threads).axis.keys, ["threads"]);
  assertEquals([axis.label, axis.value(points[3]!)], ["Tokens", 128]);
});

/** Returns what arrange() calls the series of each panel. */
function seriesNames(records: readonly SourcedRecord[]): Record<string, string[]> {
  return Object.fromEntries(
    arrange(records).panels.map(({ title, series }) => [title, series.map(({ name }) => name)]),
  );
}

Deno.test("arrange() makes panels of at most 8 series, whose colors mean the same in all panels", () => {
  const many = [1, 2].flatMap((batch) =>
    [16, 32, 64].flatMap((seq) =>
      [1, 2, 3, 4].map((threads) => ({ ...record([batch], { batch, seq }, { threads }), source: "runs" }))
    )
  );
  const names = ["1 thread", "2 threads", "3 threads", "4 threads"];
  assertEquals(seriesNames(many), { "seq 16": names, "seq 32": names, "seq 64": names });
  for (const { series } of arrange(many).panels) {
    assertEquals(series.map(({ color }) => color), [1, 2, 3, 4].map((i) => `var(--series-${i})`));
  }
  const weights = [1, 2].flatMap((batch) =>
    (["f16", "bf16", "f32"] as const).flatMap((dtype) =>
      ["dense", "mxfp4", "int4"].flatMap((weights) =>
        [0, 1].map((skew) => ({ ...record([batch], { batch, dtype, weights, skew }), source: "runs" }))
      )
    )
  );
  const formats = ["dense, skew 0", "skew 1", "mxfp4", "mxfp4, skew 1", "int4", "int4, skew 1"];
  assertEquals(seriesNames(weights), { f16: formats, bf16: formats, f32: formats });
  const { factor } = improvements(arrange(weights));
  assert(weights.every((point) => factor(point as typeof point & Point) === 1));
  const seeds = [1, 2].flatMap((batch) =>
    Array.from({ length: 20 }, (_, seed) => ({ ...record([1], { batch, seed }), source: "runs" }))
  );
  assertEquals(arrange(seeds).panels.map(({ title, series }) => [title, series.length]), [
    ["Series 1 to 8", 8],
    ["Series 9 to 16", 8],
    ["Series 17 to 20", 4],
  ]);
  const html = page(many);
  assertEquals(html.match(/<h3>Time: seq \d+<\/h3>/g)?.length, 3);
  for (const name of Object.keys(charts) as (keyof typeof charts)[]) {
    if (!["roofline", "kernels", ...gpuCharts].includes(name)) assertMatch(picture(name, many), /^<svg /);
  }
});

Deno.test("the roofline labels every roof", () => {
  const threads = [1, 2].map((threads) => ({
    ...record([4], {}, { ...peaks, threads, peakTflops: threads / 4 }),
    source: "runs",
  }));
  const svg = picture("roofline", threads);
  assertStringIncludes(svg, "1 thread: 0.2500 TFLOP/s, 20.00 GB/s");
  assertStringIncludes(svg, "2 threads: 0.5000 TFLOP/s, 20.00 GB/s");
  assertStringIncludes(picture("roofline", records), ">0.5000 TFLOP/s, 20.00 GB/s<");
});

Deno.test("the picture of the tokens per expert has a legend", () => {
  const svg = picture("load", records);
  for (const part of ["kept", "dropped"]) assertStringIncludes(svg, `>${part}</text>`);
});

Deno.test("a picture shows its caption, which says what the dashed line is", () => {
  const lines = [...picture("time", records).matchAll(/<text [^>]*>([^<]*)<\/text>/g)].map(([, line]) => line);
  assertStringIncludes(lines.join(" "), charts.time.caption);
});

Deno.test("the page has hints whole, under their row, and says 1 thread", () => {
  const hint =
    "not converged: the time was enough for 6 calls, the median is known to 4.2 %; raise --timeout or --max-noise";
  const html = page([{ ...record([1], {}, { threads: 1 }), hints: [hint, "other: <b>"], source: "runs" }]);
  assertStringIncludes(html, `<div>${hint}</div><div>other: &lt;b&gt;</div>`);
  assertStringIncludes(html, "1 thread ");
  assert(!html.includes("1 threads"));
});

Deno.test("improvements() are relative to the first file, otherwise to the first place of the axis", () => {
  const alone = arrange(records);
  for (const point of alone.points.filter(({ batch }) => batch === 1)) {
    assertEquals(improvements(alone).factor(point), 1);
  }
  const twice = records.filter(({ status }) => status === "ok").flatMap((one) => [
    { ...one, source: "before" },
    { ...one, source: "after", kernelTimeMs: (one.kernelTimeMs ?? 0) / 2 },
  ]);
  const both = arrange(twice);
  assertEquals(improvements(both).label, "Times faster than before");
  for (const point of both.points) assertEquals(improvements(both).factor(point), point.source === "after" ? 2 : 1);
});

Deno.test("every chart is drawn, in the page and as a picture", () => {
  const html = page(records);
  for (const name of Object.keys(charts) as (keyof typeof charts)[]) {
    if (gpuCharts.includes(name)) continue;
    assertStringIncludes(html, `<figure id="${name}">`);
    const svg = picture(name, records);
    assertMatch(
      svg,
      /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg".* role="img" aria-labelledby="title description">/,
    );
    assertStringIncludes(svg, `<title id="title">${charts[name].title}</title>`);
    assert(!/NaN|undefined|Infinity/.test(svg), `${name} contains a number that is not finite`);
  }
  assertEquals(html.match(/aria-label="dot"/g)?.length, 6);
});

Deno.test("the charts of several GPUs are along their number, whatever else varies", () => {
  const scaled = [1, 2, 4].flatMap((gpus) =>
    [16, 64].map((seq) => {
      const over = { gpus, exchange: gpus > 1 ? "tokens" : null, exchangeBytes: gpus > 1 ? 27e6 * gpus : null };
      return { ...record([seq * (1 + gpus / 4)], { seq }, over), source: "runs" };
    })
  );
  const html = page(scaled);
  assertEquals(arrange(scaled).axis.keys, ["batch", "seq"]);
  for (const name of gpuCharts as ("scaling" | "efficiency")[]) {
    assertStringIncludes(html, `<figure id="${name}">`);
    const svg = picture(name, scaled);
    assertStringIncludes(svg, ">GPUs");
    assert(!/NaN|undefined|Infinity/.test(svg));
  }
  const dataset = arrange(scaled, "gpus");
  assertEquals(dataset.panels[0]?.series.map(({ name }) => name), ["seq 16", "seq 64"]);
  const points = dataset.panels[0]?.series[0]?.points ?? [];
  assertEquals(points.map(efficiencyIn(dataset)).map((share) => Math.round(share ?? 0)), [100, 83, 63]);
  assertEquals(points.map(linkFloor), [null, 0.2, 0.4]);
  assert(!page(records).includes("Several GPUs"));
});

Deno.test("the page loads nothing and has every record, with failures escaped", () => {
  const html = page(records);
  assert(!/(src|href)="(?!data:)|@import|url\(|<script/.test(html), "the page loads something");
  const [, table = ""] = html.split("<h2>All configurations</h2>");
  assertEquals(table.match(/<tr(?: class="(best|failed)")?><td/g)?.length, records.length);
  assertEquals(html.match(/<tr class="best">/g)?.length, 1);
  assertStringIncludes(html, "<div>failed: out of &lt;memory&gt; &amp; time</div>");
  assert(!/NaN|undefined|Infinity/.test(html));
});

Deno.test("picture() refuses a chart of what the records do not have", () => {
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
  name:
    "a browser draws the page and a picture in both themes and from 400 to 1400 pixels without a message on its console",
  ignore: !browser,
  fn: async () => {
    const folder = await Deno.makeTempDir();
    try {
      // Pages have no scripts. This one reports through the title whether the page fits, and what is drawn.
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
      for (const [width, dark] of [[400, true], [500, false], [900, false], [1400, true]] as const) {
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

Deno.test("the page answers: which kernel limits, how far the floor is, what a packed format gains, when arithmetic limits", () => {
  // The peaks are equal at 25 operations per byte, which the dense job has at 512 tokens and the packed one at 256.
  const at = (seq: number, formats = "f16", factor = 1) => ({
    ...record([seq * factor], { batch: 1, seq, capacity: null }, {
      ...peaks,
      ...{ formats, weights: formats === "f16" ? "dense" : formats },
      ...{
        weightLayout: formats === "f16" ? "in-out" : "out-in",
        intensity: seq * 25 / (formats === "f16" ? 512 : 256),
      },
    }),
    ...{ source: "runs", host: "node1" },
  });
  const html = page([at(16), at(64), at(1024), at(4096), at(16, "mxfp4", 0.4), at(1024, "mxfp4", 1.25)]);
  const cards = [
    ...html.matchAll(/<div class="card"><h3>(.*?)<\/h3><strong>(.*?)<\/strong><span class="muted">(.*?)</g),
  ];
  const card = (title: string) =>
    cards.find(([, name]) => name === title)?.slice(2).map((text) => text.replaceAll("<wbr>", ""));
  const device = "A processor";
  assertEquals(card("Limiting kernel"), [
    "gate_up_product_with_a_long_name",
    `60 % of the time, 1.50 × its floor; tiny, 4096 tokens, f16, ${device}`,
  ]);
  assertEquals(card("Time over its floor")?.[0], "2.50 ×");
  assertEquals(card("Packed weights"), [
    "2.50 × as fast",
    `mxfp4 against f16 at best: tiny, 16 tokens, mxfp4, ${device}; at least 0.80 ×: tiny, 1024 tokens, mxfp4, ${device}`,
  ]);
  assertEquals(card("Arithmetic limits from"), [
    "about 260 tokens",
    `tiny, mxfp4, ${device}: 260; tiny, f16, ${device}: 510`,
  ]);
  assertStringIncludes(card("Highest rate")?.[1] ?? "", "limited by arithmetic, 40.0 % of ");
  const [, limits = ""] = html.split("<h2>What limits each job</h2>");
  assertEquals(
    limits.split("</table>")[0]?.match(/<td class="left">gate_up_product_with_a_long_name<\/td>/g)?.length,
    6,
  );
});

Deno.test("a table has the data of every chart, for readers who cannot see it", () => {
  const html = page(records);
  const tableOf = (chart: string) =>
    [...(html.split(`<figure id="${chart}">`)[1]?.split("</figure>")[0] ?? "").matchAll(/<tr>(.*?)<\/tr>/g)]
      .map(([, row = ""]) => [...row.matchAll(/<t[dh].*?>(.*?)</g)].map(([, text]) => text));
  assertEquals(tableOf("time"), [
    ["Tokens", "seq 16", "seq 64"],
    ...[["16", "16.50", ""], ["32", "32.50", ""], ["64", "64.50", "64.50"], ["128", "", "128.5"], ["256", "", "256.5"]],
  ]);
  assertEquals(tableOf("kernels")[3], ["down_product", "20.00", "10.00", "2.00 ×"]);
  assertEquals(tableOf("load").length, 9);
  for (const name of Object.keys(charts)) assert(gpuCharts.includes(name) || tableOf(name).length > 1, name);
});

Deno.test("the page of several machines has a column for them", () => {
  using restore = new DisposableStack();
  const { warn } = console, warnings: unknown[] = []; // the library's warnings would be printed in the terminal
  restore.defer(() => console.warn = warn);
  console.warn = (...text) => warnings.push(text);
  const machine = (host: string | null, device: string, source: string) => ({
    ...{ ...record([5], {}, { backend: "cuda", device }), host, source },
  });
  const html = page([machine("node1", "NVIDIA H100", "a"), machine("node2", "NVIDIA H100", "b")]);
  assertStringIncludes(html, '<th scope="col" class="left">machine</th>');
  for (const host of ["node1", "node2"]) assertStringIncludes(html, `<td class="left">${host}: NVIDIA H100</td>`);
  assert(!page([machine(null, "NVIDIA H100", "a")]).includes(">machine<"));
  assertEquals(warnings, []);
});
