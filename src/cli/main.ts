// Finds the command, loads only that one, and converts errors to one line and an exit code.
import { firstError } from "../bench/first_error.ts";
import { type CommandEntry, exitCode, printData, printNote } from "./command.ts";
import { commands } from "./commands.ts";

/** Runs a command line and returns the exit code. */
export async function main(args: readonly string[]): Promise<number> {
  try {
    return await dispatch(args);
  } catch (caught) {
    const error = firstError(caught);
    printNote(`yamoe: ${error instanceof Error ? messageOf(error) : error}`);
    if (!(error instanceof Error)) return exitCode.failed;
    if (error.name === "UsageError") return exitCode.usage;
    return error.name === "BackendUnavailableError" ? exitCode.unavailable : exitCode.failed;
  }
}

/** Returns the message of an error. Those of Deno about files end with a call: `Not a directory (os error 20): stat 'x'`. */
function messageOf({ message }: Error): string {
  const [, reason, path] = message.match(/^(.*) \(os error \d+\): \w+ '([^']*)'$/) ?? [];
  return path === undefined ? message : `Cannot open ${path}: ${reason}`;
}

async function dispatch(args: readonly string[]): Promise<number> {
  const [first = "help", about] = args;
  if (["help", "--help", "-h"].includes(first)) {
    if (about !== undefined) return await dispatch([about, "--help"]);
    const { helpOverview } = await import("./help.ts");
    printData(helpOverview(commands));
    return exitCode.done;
  }
  if (first === "--version" || first === "-V") {
    const { version } = await import("../version.ts");
    printData(`yamoe ${version}`);
    return exitCode.done;
  }
  const name = first.startsWith("-") ? "bench" : first;
  const entry = await findCommand(name);
  const { default: command } = await entry.load();
  const rest = name === first ? args.slice(1) : args;
  if (rest.includes("--help") || rest.includes("-h")) {
    const { helpCommand } = await import("./help.ts");
    printData(helpCommand(name, entry.summary, command));
    return exitCode.done;
  }
  const { parseFlags } = await import("./flags.ts");
  const { values, operands } = parseFlags(rest, command.flags, command.operands !== undefined);
  return await command.run(values, operands, commands);
}

async function findCommand(name: string): Promise<CommandEntry> {
  const entry = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (entry) return entry;
  const [{ suggestion }, { UsageError }] = await Promise.all([import("./suggestion.ts"), import("./usage_error.ts")]);
  throw new UsageError(`Unknown command "${name}"${suggestion(name, Object.keys(commands))}`);
}
