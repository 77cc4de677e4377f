/**
 * External programs: every program that prints the three lines of the reference script can be compared with this tool.
 *
 * @module
 */
import type { Job } from "../workload/workload.ts";

/** The megabyte of the three lines. The reference script divides by 2^20; this tool writes MiB everywhere else. */
export const referenceMegabyte = 2 ** 20;

/** The figures that such a program prints. */
export interface ThreeLines {
  readonly outputSum: number;
  readonly kernelTimeMs: number;
  readonly peakMemoryBytes: number;
}

/** A program that is running. */
export interface Running {
  readonly result: Promise<ThreeLines>;
  /** Kills the program. */
  kill(): void;
}

/**
 * Starts a program.
 *
 * @param command The command line. Quotes keep words together, and `{batch}`, `{seq}` and the names of the other sizes are
 * replaced with the sizes of the job. No shell is involved.
 * @param job The job that the program should run.
 * @param timeoutMs The maximum time in milliseconds.
 * @returns The running program. Its result rejects if the program fails, takes too long or does not print the three lines.
 * @throws {RangeError} If the command line is empty.
 * @throws {Deno.errors.NotFound} If the program does not exist.
 */
export function runAgainst(command: string, job: Job, timeoutMs: number): Running {
  const [program, ...args] = splitCommand(command).map((word) => fillIn(word, job));
  if (program === undefined) throw new RangeError(`--against must be a command line, got "${command}"`);
  const child = new Deno.Command(program, { args, stdin: "null", stdout: "piped", stderr: "piped" }).spawn();
  const kill = () => {
    try {
      child.kill("SIGKILL");
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // a TypeError means that it has ended by itself
    }
  };
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    kill();
    reject(new Error(`${program} was killed after ${timeoutMs / 1000} s`));
  }, timeoutMs);
  const finished = child.output().then(({ code, stdout, stderr }) => {
    const [text, errors] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
    if (code !== 0) throw new Error(`${program} ended with exit code ${code}: ${lastLines(errors!)}`);
    return parseThreeLines(text!, program);
  });
  return { kill, result: Promise.race([finished, late]).finally(() => clearTimeout(timer)) };
}

/**
 * Finds the three figures in the output of a program.
 *
 * @throws {SyntaxError} If a figure is missing.
 */
export function parseThreeLines(text: string, program: string): ThreeLines {
  const find = (label: string, pattern: RegExp) => {
    const figure = Number(text.match(pattern)?.[1] ?? NaN);
    if (Number.isFinite(figure)) return figure;
    throw new SyntaxError(`${program} must print a line "${label}", got: ${lastLines(text)}`);
  };
  return {
    outputSum: find("Output sum: N", /^Output sum:\s*(\S+)\s*$/m),
    kernelTimeMs: find("Kernel time: N ms", /^Kernel time:\s*(\S+)\s*ms\s*$/m),
    peakMemoryBytes: Math.round(
      referenceMegabyte * find("Peak memory: N MB", /^Peak (?:\w+ )?memory:\s*(\S+)\s*Mi?B\s*$/m),
    ),
  };
}

/** Splits a command line into words. Quotes keep words together. */
export function splitCommand(command: string): string[] {
  return [...command.matchAll(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g)].map(([word]) =>
    word.replace(/"([^"]*)"|'([^']*)'/g, (_, double, single) => double ?? single)
  );
}

function fillIn(word: string, job: Job): string {
  return word.replace(/\{(\w+)\}/g, (whole, name) => {
    const value = Object.hasOwn(job, name) ? job[name as keyof Job] : undefined;
    return typeof value === "object" && value !== null || value === undefined ? whole : `${value ?? "none"}`;
  });
}

function lastLines(text: string): string {
  return text.trimEnd().split("\n").slice(-5).join(" | ") || "nothing";
}
