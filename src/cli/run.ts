import { backendTarget } from "../models/checkpoint/layer_target.ts";
import { CheckpointLayer } from "../models/checkpoint/checkpoint_layer.ts";
import { activations } from "../contract/activations.ts";
import { resolveMoe } from "../contract/resolve_moe.ts";
import { describeFormats } from "../contract/weights.ts";
import { overheadBytes } from "../cpu/resident.ts";
import { readHidden, readTokenIds } from "../workload/hidden_file.ts";
import { summarizeOutput } from "../workload/output_summary.ts";
import { type PresetName, presets } from "../models/presets.ts";
import { toJson } from "../report/json.ts";
import { plural } from "../text.ts";
import { type RouterKind, routerRules } from "../routing/router.ts";
import { SafetensorsError } from "../safetensors/error.ts";
import { temporaryFiles, writeSafetensors } from "../safetensors/write.ts";
import type { PackedFormat } from "../tensor/packed_tensor.ts";
import { bytesPerElement, convert, type DType, formatShape } from "../tensor/tensor.ts";
import { version } from "../version.ts";
import { WorkerPool } from "../wasm/worker_pool.ts";
import { command, exitCode, printData, printNote } from "./command.ts";
import { choice, file, type FlagValues, integer, number, text, toggle } from "./flags.ts";
import { cpuResources, memoryProblem } from "./free_memory.ts";
import { onInterrupt } from "./interrupt.ts";
import { backendFlags, backendFromFlags } from "./job_flags.ts";
import { ProgressBar } from "./progress.ts";
import { checkNotRead } from "./replaced_input.ts";
import { asUsage, UsageError } from "./usage_error.ts";
import { checkWritable } from "./whole_file.ts";

const dtypes = ["f16", "bf16", "f32"] as const;

const flags = {
  weights: file("FILE", "Safetensors file, index of several, or directory with either; config.json beside it is read"),
  layer: integer("N", "Layer, if the checkpoint has several", 0, 1_000_000),
  prefix: text("TEXT", "What the layer's tensor names begin with, such as talker."),
  input: file("FILE", "Safetensors file with the layer's input, [T, H] or [batch, seq, H]"),
  output: file("FILE", 'Safetensors file to write, with one tensor "output"'),
  preset: choice(
    "NAME",
    "Preset whose way of computing replaces config.json's",
    Object.keys(presets) as PresetName[],
  ),
  activation: choice("NAME", "Activation", activations),
  "activation-alpha": number("X", "Alpha of swiglu-oai (default: 1.702)"),
  "activation-limit": number("X", "Limit of swiglu-oai or gated silu (default: the model's, or 7 or none)"),
  ungated: toggle("The experts have no gate"),
  "gate-up-layout": choice(
    "NAME",
    "Order of gate and up columns",
    [
      "interleaved",
      "concatenated",
    ] as const,
  ),
  "weight-layout": choice(
    "NAME",
    "Order of the weights' dimensions (default: the one that fits)",
    ["in-out", "out-in"] as const,
  ),
  router: choice(
    "KIND",
    "Kind of router",
    Object.keys(routerRules) as RouterKind[],
  ),
  "top-k": integer("N", "Experts of each token", 1, 1024),
  groups: integer("N", "Groups of experts", 1, 1024),
  "top-groups": integer("N", "Groups that a token chooses experts from", 1, 1024),
  renormalize: toggle("Divide the routing weights of a token by their sum"),
  "no-renormalize": toggle("Do not divide the routing weights by their sum"),
  scale: number("X", "Factor of the routing weights"),
  jitter: number("X", "Jitter of sparse-mixer (default: the model's, or 0.01)"),
  "logits-dtype": choice("NAME", "Dtype that the logits are rounded to (default: f32)", dtypes),
  capacity: integer("N", "Maximum number of tokens per expert (default: the model's, or unlimited)", 1, 2 ** 31 - 1),
  "batch-invariant": toggle("Give each token the same bits in any batch"),
  dtype: choice("NAME", "Dtype to compute in (default: that of input and weights if they agree, else f32)", dtypes),
  ...backendFlags,
  json: toggle("Print one JSON object"),
};

export default command({
  flags,
  examples: {
    "yamoe run --weights model/ --layer 3 --input x.safetensors --output y.safetensors":
      "A layer of a Hugging Face checkpoint",
    "yamoe run --weights w.safetensors --input x.safetensors --output y.safetensors --router softmax --top-k 2 --activation silu --gate-up-layout concatenated":
      "Weights without a config.json",
  },
  async run(values) {
    const { weights, input, output } = required(values);
    using progress = new ProgressBar();
    const finish = () => {
      progress[Symbol.dispose]();
      for (const file of temporaryFiles) Deno.removeSync(file);
    };
    onInterrupt(finish);
    checkWritable(output); // after onInterrupt, so that a signal leaves no probe behind
    await checkNotRead(output, [weights, input]);
    const { hidden, shape } = await readHidden(input);
    using layer = await asUsage(() => CheckpointLayer.open(weights, layerOptions(values)));
    await checkNotRead(output, layer.files);
    const [tokens, width] = hidden.shape as [number, number];
    const { routed, router, hidden: expected } = layer.shape;
    if (width !== expected) {
      throw new SafetensorsError(
        `${input}: the input must have ${expected} columns, the layer's hidden size, got ${formatShape(shape)}`,
      );
    }
    const table = await layer.readTokenTable();
    const tokenIds = table && await readTokenIds(input, tokens, table.shape[0] ?? 0);
    const dtype = values.dtype ?? (layer.dtype === hidden.dtype ? hidden.dtype : "f32");

    using pool = new WorkerPool(values.threads);
    using backend = await backendFromFlags(values, pool);
    const reading = { dtype, supports: (format: PackedFormat) => backend.supports(format) };
    const need = layer.bytes(reading) + workspaceBytes(layer, tokens, dtype) +
      overheadBytes({ ...routed, tokens }, cpuResources(backend));
    const problem = backend.name === "cpu" ? memoryProblem("The layer", need) : null;
    if (problem !== null) throw new Error(problem);
    const number = layer.number === undefined ? "" : `layer ${layer.number}, `;
    printNote(
      `yamoe ${version}, ${layer.family}: ${number}${plural(tokens, "token")}, hidden ${width}, intermediate ` +
        `${routed.intermediate}, ${plural(routed.experts, "expert")}, top ${routed.topK}, ${dtype}`,
    );
    printNote(describeComputation(layer));
    layer.notes.forEach(printNote);
    if (backend.name === "cuda") onInterrupt(finish, { tail: "" });
    const readStart = performance.now();
    using owned = new DisposableStack();
    const tensors = await layer.readTo(backendTarget(backend, owned), {
      ...reading,
      onProgress: (fraction) => progress.show("Weights", fraction),
    });
    const readTimeMs = performance.now() - readStart;
    const start = performance.now();
    const converted = owned.use(backend.upload(convert(hidden, dtype)));
    const expertCapacity = values.capacity ?? layer.expertCapacity;
    const options = { expertCapacity, batchInvariant: values["batch-invariant"], tokenIds };
    const result = await backend.download(owned.use(await backend.moe(converted, tensors, options)));
    const timeMs = performance.now() - start;
    const written = convert(result, hidden.dtype);
    progress[Symbol.dispose]();

    using uploaded = backend.upload(written);
    const summary = await summarizeOutput(backend, pool, uploaded);
    await writeSafetensors(output, { output: { ...written, shape } }, { format: "pt" });
    const record = {
      weights,
      layer: layer.number ?? null,
      input,
      output,
      family: layer.family,
      tokens,
      hidden: width,
      intermediate: routed.intermediate,
      experts: routed.experts,
      topK: routed.topK,
      sharedIntermediate: layer.shape.shared?.intermediate ?? 0,
      dtype,
      inputDtype: hidden.dtype,
      weightsDtype: layer.dtype,
      formats: describeFormats(resolveMoe(converted, tensors, options).routed.formats),
      activation: routed.activation,
      gated: routed.gated,
      gateUpLayout: routed.gateUpLayout,
      weightLayout: routed.weightLayout,
      router: layer.routerKind,
      groups: router.groups,
      topGroups: router.topGroups,
      renormalize: router.renormalize,
      scale: router.scale,
      capacity: expertCapacity ?? null,
      backend: backend.name,
      device: backend.device,
      threads: pool.threads,
      ...summary,
      readTimeMs,
      timeMs,
      version,
      time: new Date().toISOString(),
    };
    if (values.json) printData(toJson(record));
    else {
      printData(`Output sum: ${summary.outputSum.toFixed(4)}`);
      printData(`Time: ${timeMs.toFixed(3)} ms`);
    }
    printNote(`Wrote ${output}: output, ${written.dtype} ${formatShape(shape)}`);
    return exitCode.done;
  },
});

type Values = FlagValues<typeof flags>;

function required({ weights, input, output }: Values): { weights: string; input: string; output: string } {
  for (const [name, value] of Object.entries({ weights, input, output })) {
    if (value === undefined) throw new UsageError(`--${name} is needed`);
  }
  return { weights: weights!, input: input!, output: output! };
}

/** Describes what is computed, so that the user sees what names, config.json and flags decided. */
function describeComputation({ routerKind, shape: { routed, router } }: CheckpointLayer): string {
  const { activation, activationLimit, gated, gateUpLayout, weightLayout } = routed;
  return [
    activation + (activationLimit < Infinity ? ` with the limit ${activationLimit}` : ""),
    gated ? `gate and up ${gateUpLayout}` : "no gate",
    `weights ${weightLayout}`,
    `router ${routerKind}` + (router.groups > 1 ? ` of ${router.topGroups} of ${router.groups} groups` : ""),
    ...(router.renormalize === routerRules[routerKind].renormalize
      ? []
      : [router.renormalize ? "renormalized" : "not renormalized"]),
    ...(router.scale === 1 ? [] : [`times ${Number(router.scale.toPrecision(7))}`]),
  ].join(", ");
}

function layerOptions(values: Values) {
  if (values.renormalize && values["no-renormalize"]) {
    throw new UsageError("--renormalize and --no-renormalize cannot both be given");
  }
  const renormalize = values.renormalize ? true : values["no-renormalize"] ? false : undefined;
  return {
    layer: values.layer,
    prefix: values.prefix,
    preset: values.preset,
    activation: values.activation,
    activationAlpha: values["activation-alpha"],
    activationLimit: values["activation-limit"],
    gated: values.ungated ? false : undefined,
    gateUpLayout: values["gate-up-layout"],
    weightLayout: values["weight-layout"],
    router: values.router,
    topK: values["top-k"],
    groups: values.groups,
    topGroups: values["top-groups"],
    renormalize,
    scale: values.scale,
    jitter: values.jitter,
    logitsDType: values["logits-dtype"],
  };
}

/** Estimates the memory of a call besides the layer: input, output, the rows of the experts, logits. */
function workspaceBytes({ shape: { hidden, routed, shared } }: CheckpointLayer, tokens: number, dtype: DType): number {
  const { intermediate, experts, topK } = routed;
  const rows = 4 * hidden + topK * (routed.hidden + intermediate) + (shared ? hidden + shared.intermediate : 0);
  return bytesPerElement(dtype) * tokens * rows + 4 * tokens * experts;
}
