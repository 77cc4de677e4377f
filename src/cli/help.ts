// Help pages. They fit the terminal; lines break between words only.
import { wrap } from "../report/wrap.ts";
import { version } from "../version.ts";
import { type Command, type CommandTable, outputWidth } from "./command.ts";
import type { Flag, Flags } from "./flags.ts";

/** The width of a page that is not shown on a terminal, and the maximum on one. */
const pageWidth = 100;

/** Returns the overview of all commands. */
export function helpOverview(commands: CommandTable): string {
  const width = Math.min(outputWidth(), pageWidth);
  return [
    ...wrap(`yamoe ${version}: run and measure Mixture-of-Experts kernels from Deno`, width),
    "",
    "Usage: yamoe <command> [flags]",
    "",
    "Commands:",
    ...columns(Object.entries(commands).map(([name, { summary }]) => [name, summary]), width),
    "",
    ...wrap(
      '"yamoe <command> --help" lists the flags of a command. Flags without a command are those of bench.',
      width,
    ),
    ...wrap('"yamoe --version" prints the version.', width),
    ...wrap("Data goes to standard output, notes and progress go to standard error.", width),
    ...wrap(
      "Exit codes: 0 done, 1 a run or a check failed, 2 wrong usage, 3 the backend is not available, 130 interrupted.",
      width,
    ),
  ].join("\n");
}

/** Returns the page of one command. */
export function helpCommand(
  name: string,
  summary: string,
  { flags, operands, examples, details = [] }: Command<Flags>,
): string {
  const width = Math.min(outputWidth(), pageWidth);
  const rows: [string, string][] = Object.entries(flags).map(([flag, spec]) => [signature(flag, spec), about(spec)]);
  return [
    ...wrap(`yamoe ${name}: ${summary}`, width),
    "",
    `Usage: yamoe ${name}${operands ? ` ${operands}` : ""} [flags]`,
    "",
    "Flags:",
    ...columns([...rows, ["--help", "Show this page"]], width),
    "",
    ...details.flatMap((paragraph) => [...wrap(paragraph, width), ""]),
    "Examples:",
    ...Object.entries(examples).flatMap(([line, purpose]) => [
      ...continued(wrap(line, width - 4, "  ")),
      ...wrap(purpose, width, "      "),
    ]),
  ].join("\n");
}

function signature(name: string, { value, short }: Flag<unknown>): string {
  return `${short ? `-${short}, ` : ""}--${name}${value ? ` ${value}` : ""}`;
}

function about({ summary, words, openWords }: Flag<unknown>): string {
  return words && !openWords ? `${summary}. One of ${words.join(", ")}` : summary;
}

/** Marks lines as one command line for a shell. */
function continued(lines: readonly string[]): string[] {
  return lines.map((line, i) => `${i > 0 ? "  " : ""}${line}${i < lines.length - 1 ? " \\" : ""}`);
}

/** The narrowest right column of a page. Below that, it begins on a line of its own. */
const narrowest = 40;

function columns(rows: readonly (readonly [left: string, right: string])[], width: number): string[] {
  const left = Math.max(...rows.map(([left]) => left.length));
  const indent = " ".repeat(width - left - 4 >= narrowest ? left + 4 : 8);
  return rows.flatMap(([name, text]) => {
    const lines = wrap(text, width, indent);
    return indent.length > name.length + 3
      ? [`  ${name}${(lines[0] ?? "").slice(2 + name.length)}`, ...lines.slice(1)]
      : [`  ${name}`, ...lines];
  });
}
