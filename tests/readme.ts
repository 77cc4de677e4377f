// The README's commands, with the permissions that it states.
import { splitCommand } from "../src/bench/against.ts";

/** The README's text. */
export const readme: string = await Deno.readTextFile(new URL("../README.md", import.meta.url));

/** A command line of the tool. */
export interface CommandLine {
  /** The words after the tool's name. */
  readonly words: readonly string[];
  /** The flags of `deno run`. */
  readonly permissions: readonly string[];
}

/** The lines of the README's shell blocks, without comments. */
export const shellLines: readonly string[] = [...readme.matchAll(/^```sh\n([^]*?)^```$/gm)]
  .flatMap(([, block]) => block?.trim().split("\n") ?? []).map((line) => line.replace(/\s+#.*$/, ""));

/** The table of permissions: a command, maybe with one of its flags, and the flags of `deno run`. */
export const permissionTable: ReadonlyMap<string, readonly string[]> = new Map(
  [...readme.matchAll(/^\| `yamoe (\w[^|]*?)`? +\| ([^|]+?) +\|/gm)].flatMap(([, commands = "", flags = ""]) =>
    commands.split("`, `").map((command) =>
      [command.replace(/ [A-Z]+$/, ""), flags.startsWith("`") ? flags.replaceAll("`", "").split(" ") : []] as const
    )
  ),
);

/** The README's command lines of the tool. Lines with `yamoe` have the permissions of the table. */
export const commandLines: readonly CommandLine[] = shellLines.flatMap((line) => {
  const [, flags, rest = ""] = line.match(/^(?:yamoe|deno run ((?:-\S+ )*)cli\.ts)(?: (.*))?$/) ?? [];
  if (!/^(yamoe|deno run)\b/.test(line)) return [];
  const words = splitCommand(rest);
  return [{ words, permissions: flags === undefined ? statedPermissions(words) : flags.split(" ").filter(Boolean) }];
});

/** The permissions that the table states for a command line. */
export function statedPermissions(words: readonly string[]): readonly string[] {
  const [command = "bench"] = words;
  const flag = words.find((word) => permissionTable.has(`${command} ${word}`));
  const permissions = permissionTable.get(flag ? `${command} ${flag}` : command);
  if (!permissions) throw new Error(`The README states no permissions for "yamoe ${command}"`);
  return permissions;
}

/** Copies the checkpoint and the input that the README's `yamoe run` names into a folder. */
export async function copyModel(folder: string): Promise<void> {
  const layer = new URL("../fixtures/layers/gpt-oss/", import.meta.url);
  await Deno.mkdir(`${folder}/model`);
  for (const name of ["model.safetensors", "config.json"]) {
    await Deno.copyFile(new URL(name, layer), `${folder}/model/${name}`);
  }
  await Deno.copyFile(new URL("input.safetensors", layer), `${folder}/x.safetensors`);
}
