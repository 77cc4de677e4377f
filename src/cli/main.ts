// The dispatch: finds the command, loads only that, and turns errors into one line and an exit code.
import { exitCode, printData, printNote } from "./command.ts";
import { commands } from "./commands.ts";

/** Runs a command line and returns the exit code. */
export async function main(args: readonly string[]): Promise<number> {
  try {
    return await dispatch(args);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    printNote(`yamoe: ${message}`);
    if (!(error instanceof Error)) return exitCode.failed;
    if (error instanceof RangeError || error.name === "UsageError") return exitCode.usage;
    return error.name === "BackendUnavailableError" ? exitCode.unavailable : exitCode.failed;
  }
}

async function dispatch(args: readonly string[]): Promise<number> {
  const [first = "bench"] = args;
  if (["help", "--help", "-h"].includes(first)) {
    const about = args[1];
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
  const entry = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (!entry) {
    const { closestString } = await import("@std/text/closest-string");
    const { UsageError } = await import("./flags.ts");
    throw new UsageError(`Unknown command "${name}"; the nearest is "${closestString(name, Object.keys(commands))}"`);
  }
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
