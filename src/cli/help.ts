import { version } from "../version.ts";
import type { Command, CommandTable } from "./command.ts";
import type { Flags } from "./flags.ts";

/** The overview: every command, and where to read on. */
export function helpOverview(commands: CommandTable): string {
  const summaries = Object.entries(commands).map(([name, { summary }]) => [name, summary]);
  return [
    `yamoe ${version}: Mixture-of-Experts kernels, run and measured from Deno`,
    "",
    "Usage: yamoe [command] [flags]",
    "",
    "Commands:",
    ...columns(Object.fromEntries(summaries)),
    "",
    `Without a command, yamoe runs "bench". "yamoe <command> --help" lists a command's flags, "yamoe --version" tells this.`,
    "Data goes to standard output, notes and progress to standard error.",
    "Exit codes: 0 done, 1 a run or a check failed, 2 usage, 3 no such backend here, 130 interrupted.",
  ].join("\n");
}

/** One command's page. */
export function helpCommand(
  name: string,
  summary: string,
  { flags, operands, examples, details }: Command<Flags>,
): string {
  const flagColumns = Object.fromEntries(
    Object.entries(flags).map(([flag, { value, summary, short }]) => [
      `${short ? `-${short}, ` : ""}--${flag}${value ? ` ${value}` : ""}`,
      summary,
    ]),
  );
  return [
    `yamoe ${name}: ${summary}`,
    "",
    `Usage: yamoe ${name}${operands ? ` ${operands}` : ""} [flags]`,
    "",
    "Flags:",
    ...columns({ ...flagColumns, "--help": "Show this page" }),
    "",
    ...(details ? [...details, ""] : []),
    "Examples:",
    ...Object.entries(examples).flatMap(([line, purpose]) => [`  ${line}`, `      ${purpose}`]),
  ].join("\n");
}

function columns(rows: Readonly<Record<string, string>>): string[] {
  const width = Math.max(...Object.keys(rows).map((left) => left.length));
  return Object.entries(rows).map(([left, right]) => `  ${left.padEnd(width)}  ${right}`);
}
