// Jobs of the single ops, and of the kernels that need a launch of their own.
import type { KernelLaunch } from "../../../src/cuda/driver/kernel.ts";
import { convert, type DType, tensor } from "../../../src/tensor/tensor.ts";
import { Generator } from "../../../src/torch/generator.ts";
import { TestDevice } from "../device.ts";
import { type Job, stepJob } from "./job.ts";

const floats = ["f16", "bf16", "f32"] as const satisfies DType[];

const i32 = (values: Iterable<number>) => tensor(Int32Array.from(values));

export function opJobs(): Job[] {
  const random = (dtype: DType, ...shape: number[]) => convert(new Generator(shape[0]!).randn(shape), dtype);
  /** The order of N assignments by expert, and the end of each of E experts in it. */
  const sorted = (N: number, E: number) => {
    const experts = Array.from({ length: N }, (_, i) => (i * i + 3) % 7 % E);
    const order = [...experts.keys()].sort((a, b) => experts[a]! - experts[b]! || a - b);
    const ends = Array.from({ length: E }, (_, e) => experts.filter((expert) => expert <= e).length);
    return { order, ends };
  };
  const jobs: Job[] = [
    stepJob("full i32", () => [], (ops) => ops.full("i32", [3, 5], -7)),
    stepJob("full f16", () => [], (ops) => ops.full("f16", [9000], 1.5)),
    stepJob("full bf16", () => [], (ops) => ops.full("bf16", [3], 2)),
    stepJob("sort", () => [i32([3, 0, 2, 2, 1, 0, 3, 3, 3])], (ops, x) => ops.sort(x!, 5)),
    stepJob(
      "sort of many",
      () => [i32(Array.from({ length: 9000 }, (_, i) => i * i % 41))],
      (ops, x) => ops.sort(x!, 41),
    ),
    stepJob("bincountCumsum", () => [i32([3, 0, 2, 2, 1, 0, 3, 3, 3])], (ops, x) => ops.bincountCumsum(x!, 300)),
    stepJob("bincountCumsum of no indices", () => [i32([])], (ops, x) => ops.bincountCumsum(x!, 3)),
    stepJob(
      "batchedMatmul of many",
      () => [random("f16", 300, 1, 8), random("f16", 300, 8, 8)],
      (ops, a, b) => ops.batchedMatmul(a!, b!),
    ),
  ];
  for (
    const [what, T, K, H] of [["32 slots", 2, 32, 264], ["35 slots", 2, 35, 264], ["many tokens", 65, 1, 520]] as const
  ) {
    jobs.push(stepJob(`combine of ${what}`, () => {
      const { order, ends } = sorted(T * K, 3);
      return [random("f32", 3, 40, H), i32(order), i32(ends), random("f32", T, K)];
    }, (ops, x, order, ends, weights) => ops.scatter(x!, order!, ends!, weights!)));
  }
  for (const dtype of floats) {
    jobs.push(
      stepJob(
        `batchedMatmul ${dtype}`,
        () => [random(dtype, 3, 20, 40), random(dtype, 3, 40, 72)],
        (ops, a, b) => ops.batchedMatmul(a!, b!),
      ),
      stepJob(`combine ${dtype}`, () => {
        const { order, ends } = sorted(9, 3);
        return [random(dtype, 3, 4, 264), i32(order), i32(ends), random(dtype, 3, 3)];
      }, (ops, x, order, ends, weights) => ops.scatter(x!, order!, ends!, weights!)),
    );
  }
  const rows: [string, DType, number[]][] = [
    ["16 bytes", "f16", [5, 520]],
    ["4 bytes", "f32", [5, 37]],
    ["2 bytes", "bf16", [5, 37]],
  ];
  for (const [unit, dtype, shape] of rows) {
    jobs.push(
      stepJob(
        `indexSelect of ${unit}`,
        () => [random(dtype, ...shape), i32([4, 0, -1, 5, 2, 2])],
        (ops, x, at) => ops.indexSelect(x!, at!),
      ),
    );
  }
  jobs.push(
    stepJob(
      "indexSelect of many",
      () => [random("f32", 7, 3), i32(Array.from({ length: 300 }, (_, i) => i % 7))],
      (ops, x, at) => ops.indexSelect(x!, at!),
    ),
    stepJob("gather", () => {
      const { order, ends } = sorted(24, 5);
      return [random("f16", 8, 24), i32(order), i32(ends)];
    }, (ops, x, order, ends) => ops.gather(x!, order!, ends!, { topK: 3, capacity: 6 })),
    stepJob("gather of many", () => {
      const { order, ends } = sorted(300, 7);
      return [random("f16", 300, 8), i32(order), i32(ends)];
    }, (ops, x, order, ends) => ops.gather(x!, order!, ends!, { capacity: 1300 })),
    ...[[24, 7], [20, 5], [5, 1]].map(([n, E]) =>
      launchJob("bin_rows", n!, (n, rows, upload) => {
        const { order, ends } = sorted(n, E!);
        const wrong = order.with(3, n).with(4, -1); // invalid assignments: nothing is written for them
        return { order: upload(wrong), ends: upload(ends.with(-1, n - 1)), rows, n, bins: E!, capacity: 3 };
      })
    ),
    launchJob("copy_words", 600, (n, out, upload) => {
      return { source: upload(Array.from({ length: n }, (_, i) => i * i)), out, n };
    }),
    stepJob("scatter of many", () => {
      const { order, ends } = sorted(8400, 6);
      return [random("f16", 6, 1500, 8), i32(order), i32(ends), random("f16", 2800, 3)];
    }, (ops, x, order, ends, weights) => ops.scatter(x!, order!, ends!, weights!)),
  );
  return jobs;
}

/** Makes a job that launches a kernel in one block, for several rounds of its loop, and reads back the array that it writes. */
function launchJob(
  kernel: string,
  words: number,
  args: (words: number, out: bigint, upload: (values: readonly number[]) => bigint) => KernelLaunch["arguments"],
): Job {
  return {
    name: `${kernel} of ${words}`,
    run: async (library) => {
      using device = await TestDevice.ofProduct(library);
      const out = device.allocate(words * 4);
      out.write(new Int32Array(words).fill(-7));
      const upload = (values: readonly number[]) => device.upload(Int32Array.from(values));
      device.launch(kernel, 256, args(words, out.pointer, upload));
      return [device.download(out)];
    },
  };
}
