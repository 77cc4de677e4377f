import type { Context } from "../context.ts";
import type { Elements } from "../elements.ts";
import type { ExpertsJob } from "./experts_job.ts";
import type { Parts } from "./parts.ts";

/**
 * Works through the items, in order, with as many workers as there are. A down item waits until its expert's gate-up
 * items are done, a combine item until all down items are: what an item waits for stands before it, so the wait ends.
 */
export function experts(context: Context, job: ExpertsJob, parts: Parts): void {
  const { kernels } = context;
  const { hidden, topK, items, progress, groupSizes } = job;
  const gateUp = 0, combined = 2;
  const itemSize = 6;
  const allDown = groupSizes.length - 1;
  const packed = { rows: "" };

  while (true) {
    const at = Atomics.add(progress, 0, 1) * itemSize;
    if (at >= items.length) return;
    const [kind, expert, row, rows, column, columns] = items.subarray(at, at + itemSize) as unknown as number[];
    if (kind === combined) {
      waitFor(allDown);
      combine(row!, rows!);
      continue;
    }
    const isGateUp = kind === gateUp;
    if (!isGateUp) waitFor(expert!);
    const block = { isGateUp, expert: expert!, row: row!, rows: rows!, column: column!, columns: columns! };
    const isFew = rows! < job.blocking.fewRows;
    const multiply = job.blas === undefined || isFew ? parts.panelProduct : parts.blasProduct;
    multiply(context, job, block, packed, parts);
    finish(isGateUp ? expert! : allDown);
  }

  function waitFor(group: number) {
    const size = groupSizes[group]!;
    for (let done = Atomics.load(progress, 1 + group); done < size; done = Atomics.load(progress, 1 + group)) {
      Atomics.wait(progress, 1 + group, done);
    }
  }

  function finish(group: number) {
    Atomics.add(progress, 1 + group, 1);
    Atomics.notify(progress, 1 + group);
  }

  /** The output rows of some tokens: the weighted sums of their experts' rows and the addend's, zeros where there is none. */
  function combine(token: number, tokens: number) {
    const { rows, expertOutputs, weights, addend, addendWeights, output } = job;
    const size = output.BYTES_PER_ELEMENT;
    const columns = Math.ceil(hidden / 8) * 8;
    const stride = columns * size;
    const memory = context.allocate({ rows: (topK + 1) * stride, weights: (topK + 1) * 4, out: stride });
    const staged = size === 2 ? context.u16 : context.f32;
    const sum = staged.subarray(memory.out / size, memory.out / size + hidden);
    let slots = 0;
    const stage = (source: Elements, row: number, weight: number) => {
      staged.set(source.subarray(row * hidden, (row + 1) * hidden), (memory.rows + slots * stride) / size);
      context.f32[memory.weights / 4 + slots] = weight;
      slots += 1;
    };
    for (let t = token; t < token + tokens; t++) {
      slots = 0;
      for (let i = t * topK, end = i + topK; i < end; i++) {
        const row = rows[i]!;
        if (row >= 0) stage(expertOutputs, row, weights[i]!);
      }
      if (addend) stage(addend, t, addendWeights ? addendWeights[t]! : 1);
      if (slots > 0) {
        kernels.combine(job.dtype, memory.rows, stride, memory.weights, slots, columns, memory.out);
        output.set(sum, t * hidden);
      } else if (t * hidden < job.dirty) {
        output.fill(0, t * hidden, (t + 1) * hidden);
      }
    }
  }
}
