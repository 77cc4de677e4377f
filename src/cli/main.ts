// The dispatch: finds the command, loads only that, and turns errors into one line and an exit code.
import { closestString } from "@std/text/closest-string";
import { BackendUnavailableError } from "../backend_unavailable_error.ts";
import { type Command, exitCode, printData, printNote } from "./command.ts";
import { parseFlags, UsageError } from "./flags.ts";
import { helpCommand, helpOverview } from "./help.ts";

const commands: Readonly<Record<string, () => Promise<{ default: Command }>>> = {
  bench: () => import("./bench.ts"),
  verify: () => import("./verify.ts"),
  plan: () => import("./plan.ts"),
  run: () => import("./run.ts"),
  presets: () => import("./presets.ts"),
  info: () => import("./info.ts"),
};

/** Runs a command line and returns the exit code. */
export async function main(args: readonly string[]): Promise<number> {
  try {
    return await dispatch(args);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    printNote(`yamoe: ${message}`);
    if (error instanceof UsageError || error instanceof RangeError) return exitCode.usage;
    if (error instanceof BackendUnavailableError) return exitCode.unavailable;
    return exitCode.failed;
  }
}

async function dispatch(args: readonly string[]): Promise<number> {
  const [first = "bench"] = args;
  if (["help", "--help", "-h"].includes(first)) {
    const summaries = await Promise.all(
      Object.entries(commands).map(async ([name, load]) => [name, (await load()).default.summary]),
    );
    printData(helpOverview(Object.fromEntries(summaries)));
    return exitCode.done;
  }
  const name = first.startsWith("-") ? "bench" : first;
  const load = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (!load) {
    throw new UsageError(`Unknown command "${name}"; the nearest is "${closestString(name, Object.keys(commands))}"`);
  }
  const { default: command } = await load();
  const rest = name === first ? args.slice(1) : args;
  if (rest.includes("--help") || rest.includes("-h")) {
    printData(helpCommand(name, command));
    return exitCode.done;
  }
  return await command.run(parseFlags(rest, command.flags));
}
