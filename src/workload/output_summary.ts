// A summary of an output: figures to compare two implementations by.
import type { Backend, BackendTensor } from "../backend/backend.ts";
import { convert, elementCount, tensor } from "../tensor/tensor.ts";
import type { WorkerPool } from "../wasm/worker_pool.ts";
import { elements, wasmDType } from "../wasm/elements.ts";

/** Figures of an output, summed in f64. */
export interface OutputSummary {
  readonly outputSum: number;
  readonly outputAbsSum: number;
  readonly outputMin: number;
  readonly outputMax: number;
  /** The first three values. */
  readonly outputFirst: readonly number[];
}

/** The number of values that are summed at a time. It is fixed, so that the bits of the sum do not depend on threads or backend. */
const chunk = 65536;

/** Summarizes an output of at least one value. */
export async function summarizeOutput(
  backend: Backend,
  pool: WorkerPool,
  output: BackendTensor,
): Promise<OutputSummary> {
  const { dtype } = output;
  const results = new Float64Array(new SharedArrayBuffer(Math.ceil(elementCount(output.shape) / chunk) * 32));
  let outputFirst: number[] = [];
  await backend.read(output, async (piece, start) => {
    if (start === 0) outputFirst = [...convert(tensor(piece.slice(0, 3), undefined, dtype), "f32").data];
    await pool.run("statistics", {
      next: new Int32Array(new SharedArrayBuffer(4)),
      dtype: wasmDType(dtype),
      values: elements(piece),
      chunk,
      results: results.subarray(start / chunk * 4),
    });
  });
  const summary = { outputSum: 0, outputAbsSum: 0, outputMin: Infinity, outputMax: -Infinity, outputFirst };
  for (let i = 0; i < results.length; i += 4) {
    summary.outputSum += results[i]!;
    summary.outputAbsSum += results[i + 1]!;
    summary.outputMin = Math.min(summary.outputMin, results[i + 2]!);
    summary.outputMax = Math.max(summary.outputMax, results[i + 3]!);
  }
  return summary;
}
