import { inspectCheckpoint, type InspectedLayer, type Inspection } from "../models/checkpoint/inspect.ts";
import { toJson } from "../report/json.ts";
import { type Column, textTable } from "../report/table.ts";
import { formatBytes, plural } from "../text.ts";
import { wrap } from "../report/wrap.ts";
import { command, exitCode, outputWidth, printData } from "./command.ts";
import { type Flag, integer, toggle } from "./flags.ts";
import { UsageError } from "./usage_error.ts";

const prefix: Flag<string> = {
  value: "TEXT",
  summary: "What the layers' tensor names begin with, such as talker.",
  parse: (text) => text,
};

export default command({
  flags: {
    layer: integer("N", "List only the layer of this number", 0, 1_000_000),
    prefix,
    json: toggle("Print one JSON object"),
  },
  operands: "PATH",
  examples: {
    "yamoe inspect model/": "The layers with experts, how each would be computed, and why",
    "yamoe inspect model/ --layer 3 --json": "One layer, for a script",
  },
  details: [
    "PATH is a safetensors file, an index of several, or a directory with either. Only headers and config.json are read.",
    "The exit code is 1 if a layer cannot be run.",
  ],
  async run({ layer, prefix, json }, operands) {
    const [path] = operands;
    if (path === undefined || operands.length > 1) {
      throw new UsageError(`yamoe inspect takes one path, got ${operands.length}`);
    }
    const inspection = await inspectCheckpoint(path, { layer, prefix });
    if (json) printData(toJson(inspection));
    else describe(inspection, outputWidth()).forEach(printData);
    const { layers } = inspection;
    return layers.length === 0 || layers.some(({ problem }) => problem) ? exitCode.failed : exitCode.done;
  },
});

const columns: readonly Column<Row>[] = [
  { title: "layers", text: ({ numbers }) => numbers, align: "left" },
  { title: "experts", text: ({ layer: { experts } }) => `${experts ?? ""}` },
  { title: "top-k", text: ({ layer: { topK } }) => `${topK ?? ""}` },
  { title: "hidden", text: ({ layer: { hidden } }) => `${hidden ?? ""}` },
  { title: "intermediate", text: ({ layer: { intermediate } }) => `${intermediate ?? ""}` },
  { title: "latent", text: ({ layer: { latent } }) => latent ? `${latent}` : "" },
  {
    title: "shared",
    rank: 1,
    text: ({ layer: { sharedIntermediate } }) => sharedIntermediate ? `${sharedIntermediate}` : "",
  },
  {
    title: "router",
    rank: 2,
    text: ({ layer: { router = "", byToken } }) => byToken ? `${router}, by token` : router,
    align: "left",
  },
  { title: "activation", rank: 3, text: ({ layer: { activation = "" } }) => activation, align: "left" },
  { title: "formats", text: ({ layer: { formats = [] } }) => formats.join(", "), align: "left" },
  { title: "bytes", text: ({ layer: { storedBytes } }) => storedBytes === undefined ? "" : formatBytes(storedBytes) },
];

/** Layers that are alike, and their numbers. */
interface Row {
  readonly numbers: string;
  readonly layer: InspectedLayer;
}

function describe({ path, family, tensors, layers, others, problem, sources }: Inspection, width: number): string[] {
  const rows = groupLayers(layers.filter(({ problem }) => !problem));
  const [first] = rows, hasLatent = rows.some(({ layer: { latent } }) => latent);
  const decisions = (first?.layer.decisions ?? []).map(({ name, value, from }) => [name, `${value}`, from] as const);
  const [nameWidth, valueWidth] = [0, 1].map((i) => Math.max(0, ...decisions.map((row) => row[i]!.length)));
  if (tensors === 0 && problem) return wrap(`Cannot be run: ${problem}`, width);
  const lines = (text: string) => wrap(text, width);
  return [
    ...lines(
      `${path}: ${family === null ? "no config.json" : family || "no model_type"}, ${plural(tensors, "tensor")}`,
    ),
    ...sources.flatMap((source) => lines(`Modeling code: ${source}`)),
    ...rows.length > 0
      ? ["", ...textTable(columns.filter(({ title }) => title !== "latent" || hasLatent), rows, width)]
      : [],
    ...decisions.length > 0 ? ["", `Decided, for layer ${first!.numbers.split("-")[0]}:`] : [],
    ...decisions.flatMap(([name, value, from]) =>
      wrap(`${name.padEnd(nameWidth!)}  ${value.padEnd(valueWidth!)}  ${from}`, width, "  ")
    ),
    ...[...new Set(layers.flatMap(({ notes = [] }) => notes))].flatMap(lines),
    ...others.length > 0 ? ["", ...lines(`Other layers with experts: ${others.join(" ")}`)] : [],
    ...problem ? ["", ...lines(`Cannot be run: ${problem}`)] : [],
    ...groupLayers(layers.filter(({ problem }) => problem)).flatMap(({ numbers, layer }) => [
      "",
      ...lines(`Layer ${numbers} cannot be run: ${layer.problem}`),
    ]),
  ];
}

/** Groups neighbors that differ only in their number. */
function groupLayers(layers: readonly InspectedLayer[]): Row[] {
  const groups: { readonly key: string; readonly layer: InspectedLayer; last: number | null }[] = [];
  for (const layer of layers) {
    const { layer: number, names: _names, problem, ...rest } = layer;
    const key = JSON.stringify({ ...rest, problem: problem?.replaceAll(/\d+/g, "") });
    const group = groups.at(-1);
    if (group?.key === key) group.last = number;
    else groups.push({ key, layer, last: number });
  }
  return groups.map(({ layer, last }) => ({
    numbers: layer.layer === last ? `${layer.layer ?? layer.names}` : `${layer.layer}-${last}`,
    layer,
  }));
}
