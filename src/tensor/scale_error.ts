/** A scale of a packed tensor that the kernels cannot read. */
export class ScaleError extends RangeError {
  /** What the kernels read, and the scale that is something else. */
  readonly problem: string;
  /** The position of the scale in its part of the tensor. */
  readonly element: number;
  /** The number of scales that an expert has in this part. */
  readonly perExpert: number;

  constructor(problem: string, element: number, perExpert: number) {
    super(`${problem} at element ${element}`);
    this.problem = problem;
    this.element = element;
    this.perExpert = perExpert;
  }
}
