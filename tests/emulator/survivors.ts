// Mutants that change nothing a result or a check could show, and why.

/** Exchanged lines, and the reason that nothing can notice. */
export interface Explanation {
  readonly before: string;
  readonly after: readonly string[];
  readonly reason: string;
}

/** All known ones. */
export const explanations: readonly Explanation[] = [];
