// `yamoe plan --gpus N`: the expected times over several GPUs.
import type { Gpu } from "../cuda/plan/gpus.ts";
import { describeRates, measuredRates, predict, type Prediction } from "../parallel/predict.ts";
import { toJson } from "../report/json.ts";
import { textTable } from "../report/table.ts";
import { describeJob } from "../report/text.ts";
import { wrap } from "../report/wrap.ts";
import type { Job } from "../workload/workload.ts";
import { outputWidth, printData } from "./command.ts";
import { UsageError } from "./usage_error.ts";

const columns = [
  { title: "GPUs", text: ({ gpus }: Prediction) => `${gpus}` },
  { title: "weights GiB", rank: 2, text: ({ weightBytes }: Prediction) => (weightBytes / 2 ** 30).toFixed(2) },
  { title: "compute ms", text: ({ computeMs }: Prediction) => computeMs.toFixed(4) },
  { title: "by assignment ms", text: ({ assignmentsMs }: Prediction) => assignmentsMs.toFixed(4) },
  { title: "by token ms", text: ({ tokensMs }: Prediction) => tokensMs.toFixed(4) },
  { title: "total ms", text: ({ totalMs }: Prediction) => totalMs.toFixed(4) },
  { title: "received MB", rank: 1, text: ({ exchangeBytes }: Prediction) => (exchangeBytes / 1e6).toFixed(2) },
  { title: "efficiency", text: ({ efficiency }: Prediction) => `${(100 * efficiency).toFixed(0)} %` },
  { title: "gain", text: ({ gain }: Prediction) => `${gain.toFixed(2)} x` },
] as const;

/** Prints the predictions for 1, 2, 4 and so on up to `gpus` GPUs, each with the tokens of the job. */
export function printPlanOfGpus(job: Job, gpu: Gpu, gpus: number, json: boolean): void {
  if (gpus > job.experts) {
    throw new UsageError(`--gpus must be at most the number of experts, ${job.experts}, got "${gpus}"`);
  }
  const counts: number[] = [];
  for (let n = 1; n < gpus; n *= 2) counts.push(n);
  const predictions = [...counts, gpus].map((n) => predict(job, gpu, n));
  if (json) return printData(toJson({ job, gpu: gpu.name, rates: measuredRates, predictions }));
  const lines = [
    `${describeJob(job)}; these are the tokens of each GPU`,
    gpu.name,
    "",
    ...textTable(columns, predictions, outputWidth()),
    "",
    "Efficiency: the time of one GPU with these tokens over the total. Gain: the time of one GPU with the tokens of all over the total.",
    describeRates(measuredRates),
  ];
  lines.flatMap((line) => wrap(line, outputWidth())).forEach(printData);
}
