// Reads what racecheck reports with `--racecheck-report hazard`.

/** The hazards of a run. */
export interface Hazards {
  /** As racecheck counts them; undefined if the report has no summary. */
  readonly count: number | undefined;
  /** Those that are explained: see {@linkcode readHazards}. */
  readonly explained: number;
}

/**
 * Counts hazards, and those that have one explanation. In the packed kernels a warp releases a stage by `__syncwarp()`, and then its
 * first lane arrives at the barrier that the copying thread waits for. By the rules of PTX this orders the reads of all lanes before
 * the next copy. racecheck counts only the first lane's arrival: for loads of which each lane has its own bytes it reported 31 of 32
 * lanes, never the first one. So a hazard is explained if it is between such a copy and the read of another lane than the first. A
 * stage that is released too early would also be reported for the first lane, which executes the same code, and a missing
 * `__syncwarp()` is what the emulator's mutants find.
 */
export function readHazards(report: string): Hazards {
  const summary = report.match(/RACECHECK SUMMARY: (\d+) hazards?/)?.[1];
  const hazards = [...report.matchAll(/Potential (\w+) hazard detected.*((?:\n=+ {5,}.*)*)/g)];
  const explained = hazards.filter(([, kind, lines = ""]) => kind === "WAR" && isReleasedByFirstLane(lines));
  return { count: summary === undefined ? undefined : Number(summary), explained: explained.length };
}

/** Whether a multiplying thread that is not its warp's first lane has read, and a thread that copies has written. */
function isReleasedByFirstLane(lines: string): boolean {
  const access = (kind: string) =>
    lines.match(RegExp(`${kind} Thread \\((\\d+),0,0\\).* at ((?:mxfp4|nvfp4|int4|int4_split|fp8)_(\\d+)_b?f16)\\+`));
  const [, reader, readingKernel] = access("Read") ?? [], [, writer, writingKernel, rows] = access("Write") ?? [];
  if (readingKernel === undefined || readingKernel !== writingKernel) return false;
  const multiplying = rows === "16" ? 128 : 384;
  return Number(reader) < multiplying && Number(reader) % 32 > 0 && Number(writer) >= multiplying;
}
