import type { Gpu } from "../cuda/plan/gpus.ts";
import { type LayerWork, layerWork, type Preset, type PresetName, presets } from "../models/presets.ts";
import { toJson } from "../report/json.ts";
import { type Column, textTable } from "../report/table.ts";
import { formatBytes } from "../text.ts";
import { makeJob } from "../workload/workload.ts";
import { command, exitCode, printData } from "./command.ts";
import { toggle } from "./flags.ts";
import { gpuFlags, gpuFromFlags } from "./gpu_flags.ts";

interface Row extends LayerWork, Omit<ReturnType<typeof makeJob>, "seed"> {
  readonly model: string;
  readonly source: string;
  readonly note: string | null;
  /** From how many tokens on the experts' products take the GPU longer than reading their weights once. */
  readonly computeBoundTokens: number;
}

export default command({
  flags: { ...gpuFlags, json: toggle("Print one JSON array, with the sources") },
  examples: {
    "yamoe presets": "On an H100",
    "yamoe presets --gpu h200 --rate 700": "Against a rate that you have measured",
    "yamoe bench --preset qwen3-30b-a3b --tokens 64": "One of them, with 64 tokens",
  },
  run(values) {
    const gpu = gpuFromFlags(values);
    const rows = (Object.keys(presets) as PresetName[]).map((name) => row(name, gpu));
    if (values.json) printData(toJson(rows));
    else describe(rows, gpu).forEach(printData);
    return Promise.resolve(exitCode.done);
  },
});

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
  { title: "intermediate", text: ({ intermediate }) => `${intermediate}` },
  { title: "experts", text: ({ experts }) => `${experts}` },
  { title: "top-k", text: ({ topK }) => `${topK}` },
  { title: "shared", text: ({ sharedIntermediate }) => sharedIntermediate ? `${sharedIntermediate}` : "" },
  { title: "activation", text: ({ activation }) => activation, align: "left" },
  { title: "router", text: ({ router }) => router.kind, align: "left" },
  { title: "parameters", text: ({ parameterBytes }) => formatBytes(parameterBytes) },
  { title: "GFLOP/token", text: ({ flopsPerToken }) => (flopsPerToken / 1e9).toFixed(3) },
  { title: "tokens", text: ({ computeBoundTokens }) => `${computeBoundTokens}` },
];

function describe(rows: readonly Row[], { name, bandwidth, flops }: Gpu): string[] {
  return [
    ...textTable(columns, rows),
    "",
    "parameters: a layer's, router and shared expert included, in f16 or bf16; GFLOP/token: all of its products",
    `tokens: from as many on, the experts' products take longer than reading their weights once, on ${name} at`,
    `  ${bandwidth / 1e12} TB/s and ${flops / 1e12} TFLOP/s; with fewer, memory is the bound`,
  ];
}
