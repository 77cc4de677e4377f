/**
 * Other programs: any that prints the reference script's three lines can stand beside our own figures.
 *
 * @module
 */
import type { Job } from "../workload/workload.ts";

/** What such a program prints. */
export interface ThreeLines {
  readonly outputSum: number;
  readonly kernelTimeMs: number;
  readonly peakMemoryMb: number;
}

/** A program that is running. */
export interface Running {
  readonly result: Promise<ThreeLines>;
  /** Ends it at once. */
  kill(): void;
}

/**
 * Starts a program.
 *
 * @param command Its command line; quotes keep words together, and `{batch}`, `{seq}` or any other size of the job's stand
 * for that. No shell is involved.
 * @param job The job that it is to run.
 * @param timeoutMs How long it may take.
 * @returns What it prints. Rejects if it cannot be started, fails, takes too long or prints something else.
 */
export function runAgainst(command: string, job: Job, timeoutMs: number): Running {
  const [program, ...args] = splitCommand(command).map((word) => fillIn(word, job));
  if (program === undefined) throw new RangeError(`--against must be a command line, got "${command}"`);
  const child = new Deno.Command(program, { args, stdin: "null", stdout: "piped", stderr: "piped" }).spawn();
  const kill = () => {
    try {
      child.kill("SIGKILL");
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // it has ended by itself
    }
  };
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    kill();
    reject(new Error(`${program} was ended after ${timeoutMs / 1000} s`));
  }, timeoutMs);
  const finished = child.output().then(({ code, stdout, stderr }) => {
    const [text, errors] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
    if (code !== 0) throw new Error(`${program} ended with ${code}: ${lastLines(errors!)}`);
    return parseThreeLines(text!, program);
  });
  return { kill, result: Promise.race([finished, late]).finally(() => clearTimeout(timer)) };
}

/**
 * Finds the three figures in what a program printed.
 *
 * @throws {SyntaxError} If one is missing.
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
    peakMemoryMb: find("Peak memory: N MB", /^Peak (?:\w+ )?memory:\s*(\S+)\s*MB\s*$/m),
  };
}

/** The words of a command line; quotes keep them together. */
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
