import type { ProfiledKernel } from "../bench/figure.ts";

const columns = [["time us", 9], ["share", 8], ["GB/s", 6], ["TFLOP/s", 8], ["of floor", 9]] as const;

/** The width of the kernels' names, so that a line has 80 columns. */
const nameWidth = 40;

/**
 * Formats the times of a call's kernels as a table of at most 80 columns.
 *
 * @returns The lines: the heading, a kernel each, and the sum.
 */
export function profileTable(kernels: readonly ProfiledKernel[]): string[] {
  const total = kernels.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
  const rows = kernels.map(({ kernel, milliseconds, floorMs, flops, bytes }) =>
    line(kernel, [
      (1000 * milliseconds).toFixed(2),
      percent(milliseconds / total),
      bytes > 0 ? (bytes / milliseconds / 1e6).toFixed(0) : "-",
      flops > 0 ? (flops / milliseconds / 1e9).toFixed(1) : "-",
      floorMs === null ? "-" : percent(floorMs / milliseconds),
    ])
  );
  const heading = line("kernel", columns.map(([title]) => title));
  return [heading, ...rows, line("sum", [(1000 * total).toFixed(2), percent(1)])];
}

function line(name: string, cells: readonly string[]): string {
  const short = name.length > nameWidth ? `${name.slice(0, nameWidth - 1)}…` : name;
  return short.padEnd(nameWidth) + cells.map((cell, i) => cell.padStart(columns[i]?.[1] ?? 0)).join("");
}

function percent(fraction: number): string {
  return `${(100 * fraction).toFixed(1)} %`;
}
