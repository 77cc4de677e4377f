// What the task `experts` is given.
import type { Elements } from "../elements.ts";

/** What the task `experts` computes. Sizes as in `experts`; N kept assignments, sorted by expert. */
export interface ExpertsJob {
  readonly hidden: number;
  readonly intermediate: number;
  readonly topK: number;
  /** The element types, of weights and biases, of what goes in and of what comes out, and the activation, by the kernels' numbers. */
  readonly dtype: number;
  readonly inputDtype: number;
  readonly outputDtype: number;
  readonly activation: number;
  readonly alpha: number;
  readonly limit: number;
  readonly gated: boolean;
  /** Whether the gate's columns are the even ones rather than the first half. */
  readonly interleaved: boolean;
  /** Whether the last two dimensions of the weights have changed places. */
  readonly outIn: boolean;
  /** [T, H]. */
  readonly hiddenStates: Elements;
  /** [E, H, 2I]. */
  readonly gateUpProj: Elements;
  /** [E, 2I]. */
  readonly gateUpProjBias: Elements | undefined;
  /** [E, I, H]. */
  readonly downProj: Elements;
  /** [E, H]. */
  readonly downProjBias: Elements | undefined;
  /** [T, K], the weight of each assignment. */
  readonly weights: Float32Array;
  /** [T, H], added to the experts' sum, and [T], what each of its rows is multiplied by; 1 where that is absent. */
  readonly addend: Elements | undefined;
  readonly addendWeights: Float32Array | undefined;
  /** N: the token of each kept assignment. */
  readonly tokens: Int32Array;
  /** N: what the input of each kept assignment, and so each of its sums, is multiplied by; 1 where that is absent. */
  readonly rowScales: Float32Array | undefined;
  /** [T, K]: the row of each assignment, -1 where it was dropped. */
  readonly rows: Int32Array;
  /** [N, I]: activations. May lie in `output`: the last activation is read before the first output is written. */
  readonly activations: Elements;
  /** [N, H]: the experts' outputs. */
  readonly expertOutputs: Elements;
  /** [T, H]. Zeros from the element `dirty` on. */
  readonly output: Elements;
  readonly dirty: number;
  /** The work, six numbers an item: kind, expert, first row, rows, first column, columns. */
  readonly items: Int32Array;
  /** Next item, then the number of finished items of each wait group: one an expert for gate-up, one for all down. */
  readonly progress: Int32Array;
  /** How many items each wait group has. */
  readonly groupSizes: Int32Array;
  readonly blocking: Blocking;
  /** The library that multiplies, where it is not the kernels that do. */
  readonly blas: string | undefined;
}

/** Sizes of what is packed at a time. */
export interface Blocking {
  /** Below so many rows, B is not packed as a whole. */
  readonly fewRows: number;
  /** The most depth of one pass: a panel of B, 32 bytes each, stays in L1. It settles the order of the sums. */
  readonly depth: number;
  /** Tiles of A, 24 bytes times the depth each, that stay in L2 while the panels of B go by. */
  readonly rowTiles: number;
}
