import type { Gpu } from "../cuda/plan/gpus.ts";
import { type LayerWork, layerWork, type Preset } from "../models/preset.ts";
import { type PresetName, presets } from "../models/presets.ts";
import { toJson } from "../report/json.ts";
import { type Column, textTable } from "../report/table.ts";
import { wrap } from "../report/wrap.ts";
import { formatBytes, quote } from "../text.ts";
import { makeJob } from "../workload/workload.ts";
import { command, exitCode, outputWidth, printData } from "./command.ts";
import { toggle } from "./flags.ts";
import { gpuFlags, gpuFromFlags } from "./gpu_flags.ts";
import { suggestion } from "./suggestion.ts";
import { UsageError } from "./usage_error.ts";
import { matching } from "./value_list.ts";

interface Row extends LayerWork, Omit<ReturnType<typeof makeJob>, "seed"> {
  readonly model: string;
  readonly source: string;
  readonly note: string | null;
  /** From this number of tokens on, the products of the experts take the GPU longer than reading their weights once. */
  readonly computeBoundTokens: number;
}

export default command({
  flags: { ...gpuFlags, json: toggle("Print one JSON array, with the sources") },
  examples: {
    "yamoe presets": "On an H100",
    "yamoe presets 'qwen*' kimi-k2": "Some of them",
    "yamoe presets --gpu h200 --rate 700": "With a rate that you have measured",
    "yamoe bench --preset qwen3-30b-a3b --tokens 64": "One of the layers, with 64 tokens",
  },
  operands: "[NAME...]",
  details: ["NAME may have * for any letters."],
  run(values, operands) {
    const gpu = gpuFromFlags(values);
    const rows = namedPresets(operands).map((name) => row(name, gpu));
    if (values.json) printData(toJson(rows));
    else describe(rows, gpu).forEach(printData);
    return Promise.resolve(exitCode.done);
  },
});

/** Returns the presets whose names match one of the patterns; all of them if there are no patterns. */
function namedPresets(patterns: readonly string[]): PresetName[] {
  const names = Object.keys(presets) as PresetName[];
  const selected = patterns.map((pattern) => {
    const found = matching(pattern, names);
    if (found.length === 0) throw new UsageError(`No preset is called ${quote(pattern)}${suggestion(pattern, names)}`);
    return found;
  });
  return patterns.length === 0 ? names : names.filter((name) => selected.some((found) => found.includes(name)));
}

function row(name: PresetName, gpu: Gpu): Row {
  const { seed: _seed, ...job } = makeJob(name);
  const { model, source, note }: Preset = presets[name];
  const work = layerWork(job);
  const computeBoundTokens = Math.ceil(work.expertBytes / gpu.bandwidth / (work.expertFlopsPerToken / gpu.flops));
  return { ...job, model, source, note: note ?? null, ...work, computeBoundTokens };
}

const columns: readonly Column<Row>[] = [
  { title: "preset", text: ({ preset }) => preset, align: "left" },
  { title: "hidden", text: ({ hidden }) => `${hidden}` },
  { title: "interm.", text: ({ intermediate }) => `${intermediate}` },
  { title: "experts", text: ({ experts }) => `${experts}` },
  { title: "top-k", text: ({ topK }) => `${topK}` },
  {
    title: "shared",
    rank: 3,
    text: ({ sharedIntermediate }) => sharedIntermediate ? `${sharedIntermediate}` : "",
  },
  { title: "activation", rank: 2, text: ({ activation }) => activation, align: "left" },
  { title: "router", rank: 1, text: ({ router }) => router.kind, align: "left" },
  { title: "memory", text: ({ parameterBytes }) => formatBytes(parameterBytes) },
  { title: "GFLOP", text: ({ flopsPerToken }) => (flopsPerToken / 1e9).toFixed(3) },
  { title: "tokens", text: ({ computeBoundTokens }) => `${computeBoundTokens}` },
];

function describe(rows: readonly Row[], { name, bandwidth, flops }: Gpu): string[] {
  return [
    ...textTable(columns, rows, outputWidth()),
    "",
    ...[
      "memory: the parameters of the layer with router and shared expert, in f16 or bf16",
      "GFLOP: all products of the layer, per token",
      `tokens: with fewer tokens than this, memory bandwidth limits the experts; with more, arithmetic does, on ${name} ` +
      `at ${bandwidth / 1e12} TB/s and ${flops / 1e12} TFLOP/s`,
    ].flatMap((line) => wrap(line, Math.min(outputWidth(), 120))),
  ];
}
