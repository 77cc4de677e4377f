import { manifest } from "../cuda/images/built/manifest.ts";
import { chooseImage, formatCapability } from "../cuda/images/load.ts";
import type { Gpu } from "../cuda/plan/gpus.ts";
import { planLaunches, type PlannedLaunch } from "../cuda/plan/experts.ts";
import { drawnFormats, jobFormats } from "../workload/drawn_weights.ts";
import { type Job, tensorBytes, weighsInputs } from "../workload/workload.ts";
import { toJson } from "../report/json.ts";
import { textTable } from "../report/table.ts";
import { wrap } from "../report/wrap.ts";
import { describeJob } from "../report/text.ts";
import { command, exitCode, outputWidth, printData } from "./command.ts";
import { choice, integer, toggle } from "./flags.ts";
import { gpuFlags, gpuFromFlags } from "./gpu_flags.ts";
import { jobFlags, jobFromFlags, presetFlag } from "./job_flags.ts";
import { printPlanOfGpus } from "./plan_gpus.ts";
import { asUsage } from "./usage_error.ts";

export default command({
  flags: {
    preset: presetFlag("reference"),
    ...jobFlags,
    weights: choice("FORMAT", "Format of the weights (default: dense)", drawnFormats),
    ...gpuFlags,
    gpus: integer(
      "N",
      "Predict the times over 1, 2, 4 and so on up to N GPUs, each with the tokens of the job",
      1,
      4096,
    ),
    json: toggle("Print one JSON object"),
  },
  examples: {
    "yamoe plan": "The reference job on an H100",
    "yamoe plan --preset small --gpu rtx4090": "Another job on another GPU",
    "yamoe plan --preset gpt-oss-20b --tokens 64 --weights mxfp4": "A layer in the format in which it is published",
    "yamoe plan --preset gpt-oss-20b --tokens 8192 --gpus 16": "What several GPUs are expected to take",
    "yamoe plan --gpu h100 --bandwidth 3.0 --rate 790": "With rates that you have measured",
  },
  async run(values) {
    const job = jobFromFlags(values.preset ?? "reference", values, { weights: values.weights });
    const gpu = gpuFromFlags(values);
    if (values.gpus !== undefined) {
      printPlanOfGpus(job, gpu, values.gpus, values.json ?? false);
      return exitCode.done;
    }
    const { batch, seq, capacity } = job;
    const shape = {
      ...job,
      ...{ tokens: batch * seq, capacity: capacity ?? Infinity, denseWeights: false },
      ...{
        weightsDType: job.dtype,
        formats: jobFormats(job),
        hasInputWeights: weighsInputs(job),
        hasAddend: false,
      },
    };
    const imageName = chooseImage(gpu.computeCapability);
    const { kernels } = manifest.images[imageName]!;
    const { launches, workspace } = await asUsage(() => planLaunches(shape, gpu, kernels));

    const rows = launches.map((launch) => {
      const { registers } = kernels.find(({ name }) => name === launch.kernel)!;
      const floorMs = 1000 * Math.max(launch.flops / gpu.flops, launch.bytes / gpu.bandwidth);
      const boundBy = launch.flops / gpu.flops > launch.bytes / gpu.bandwidth ? "compute" : "memory";
      const { kernel, blocks, threads, sharedBytes, flops, bytes } = launch;
      return { kernel, blocks, threads, sharedBytes, registers, flops, bytes, floorMs, boundBy };
    });
    const tensors = tensorBytes(job);
    const inputBytes = sum(Object.values(tensors.inputs));
    const workspaceBytes = sum(Object.values(workspace));
    const plan = {
      job,
      gpu: gpu.name,
      image: imageName,
      launches: rows,
      floorMs: sum(rows.map(({ floorMs }) => floorMs)),
      flops: sum(rows.map(({ flops }) => flops)),
      bytes: sum(rows.map(({ bytes }) => bytes)),
      inputBytes,
      outputBytes: tensors.output,
      workspace,
      peakMemoryBytes: inputBytes + tensors.output + workspaceBytes,
    };
    if (values.json) printData(toJson(plan));
    else describe(plan, gpu).flatMap((line) => wrap(line, outputWidth())).forEach(printData);
    return exitCode.done;
  },
});

type Row = Pick<PlannedLaunch, "kernel" | "blocks" | "threads" | "sharedBytes" | "flops" | "bytes"> & {
  readonly registers: number;
  readonly floorMs: number;
  readonly boundBy: string;
};

const columns = [
  { title: "kernel", text: ({ kernel }: Row) => kernel, align: "left" },
  { title: "blocks", text: ({ blocks }: Row) => `${blocks}` },
  { title: "threads", rank: 4, text: ({ threads }: Row) => `${threads}` },
  { title: "shared KiB", rank: 3, text: ({ sharedBytes }: Row) => (sharedBytes / 1024).toFixed(0) },
  { title: "registers", rank: 2, text: ({ registers }: Row) => `${registers}` },
  { title: "GFLOP", text: ({ flops }: Row) => (flops / 1e9).toFixed(2) },
  { title: "MiB", text: ({ bytes }: Row) => (bytes / 2 ** 20).toFixed(2) },
  { title: "floor ms", text: ({ floorMs }: Row) => floorMs.toFixed(4) },
  { title: "bound by", text: ({ boundBy }: Row) => boundBy, align: "left" },
] as const;

interface PlanText {
  readonly job: Job;
  readonly gpu: string;
  readonly image: string;
  readonly launches: readonly Row[];
  readonly floorMs: number;
  readonly flops: number;
  readonly bytes: number;
  readonly inputBytes: number;
  readonly outputBytes: number;
  readonly workspace: Readonly<Record<string, number>>;
  readonly peakMemoryBytes: number;
}

function describe(plan: PlanText, { computeCapability, bandwidth, flops }: Gpu): string[] {
  const mib = (bytes: number) => (bytes / 2 ** 20).toFixed(2);
  return [
    describeJob(plan.job),
    `${plan.gpu}, compute capability ${formatCapability(computeCapability)}, kernels of ${plan.image}; ` +
    `${bandwidth / 1e12} TB/s, ${flops / 1e12} TFLOP/s`,
    "",
    ...textTable(columns, plan.launches, outputWidth()),
    "",
    `Total: ${(plan.flops / 1e9).toFixed(2)} GFLOP, ${mib(plan.bytes)} MiB, floor ${plan.floorMs.toFixed(4)} ms`,
    `Peak GPU memory: ${mib(plan.peakMemoryBytes)} MiB: inputs ${mib(plan.inputBytes)}, output ${
      mib(plan.outputBytes)
    }, ` +
    `workspace ${mib(sum(Object.values(plan.workspace)))}`,
    ...Object.entries(plan.workspace)
      .filter(([name, bytes]) => bytes > 0 || name === "activations")
      .map(([name, bytes]) => `  ${name.padEnd(14)}${bytes === 0 ? "in the output" : mib(bytes)}`),
  ];
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
