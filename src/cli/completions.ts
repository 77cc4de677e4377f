import { command, type CommandTable, exitCode, printData } from "./command.ts";
import type { Flags } from "./flags.ts";
import { UsageError } from "./usage_error.ts";

export default command({
  flags: {},
  operands: "bash|zsh|fish",
  examples: {
    "yamoe completions bash": "The script for bash; for every shell, write it to a file that ~/.bashrc sources",
    "yamoe completions fish": "The same for fish, in ~/.config/fish/completions/yamoe.fish",
  },
  details: [
    "The script is generated from the flags. It completes commands, flags, and the words and files that flags take.",
  ],
  run: (_values, operands, commands) => run(operands, commands),
});

/** What a script needs to know of a command. */
interface Entry {
  readonly name: string;
  readonly summary: string;
  readonly flags: Flags;
}

const writers: Readonly<Record<string, (entries: readonly Entry[]) => string>> = { bash, zsh, fish };

async function run(operands: readonly string[], commands: CommandTable): Promise<number> {
  const [shell = ""] = operands;
  const write = operands.length === 1 && Object.hasOwn(writers, shell) ? writers[shell] : undefined;
  if (!write) throw new UsageError(`yamoe completions takes bash, zsh or fish, got "${operands.join(" ")}"`);
  const entries = await Promise.all(
    Object.entries(commands).map(async ([name, { summary, load }]) => ({
      name,
      summary,
      flags: (await load()).default.flags,
    })),
  );
  printData(write(entries));
  return exitCode.done;
}

function bash(entries: readonly Entry[]): string {
  const cases = entries.flatMap(({ name, flags }) => {
    const names = [...Object.keys(flags).map((flag) => `--${flag}`), "--help"].join(" ");
    const values = Object.entries(flags).filter(([, { value }]) => value !== undefined).map(
      ([flag, { words, short }]) => {
        const pattern = short ? `--${flag}|-${short}` : `--${flag}`;
        const reply = words ? `COMPREPLY=($(compgen -P "$list" -W "${words.join(" ")}" -- "$last"))` : "COMPREPLY=()";
        return `        ${pattern}) ${reply}; return ;;`;
      },
    );
    return [
      `    ${name})`,
      ...(values.length > 0 ? [`      case "$before" in`, ...values, `      esac`] : []),
      `      if [[ $word == -* ]]; then COMPREPLY=($(compgen -W "${names}" -- "$word")); else COMPREPLY=(); fi ;;`,
    ];
  });
  const names = entries.map(({ name }) => name).join(" ");
  return `# yamoe completions for bash
_yamoe() {
  local word="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}" command="\${COMP_WORDS[1]}"
  # bash splits --flag=value at the equals sign.
  if [[ $word == "=" ]]; then word=""
  elif [[ $before == "=" ]]; then before="\${COMP_WORDS[COMP_CWORD-2]}"
  fi
  # In a comma-separated list, only the last word is completed.
  local last="\${word##*,}"
  local list="\${word%"$last"}"
  if [[ $COMP_CWORD == 1 && $word != -* ]]; then
    COMPREPLY=($(compgen -W "${names} help" -- "$word"))
    return
  fi
  [[ $command == -* ]] && command=bench
  case "$command" in
${cases.join("\n")}
  esac
}
complete -o bashdefault -o default -F _yamoe yamoe`;
}

function zsh(entries: readonly Entry[]): string {
  const quote = (text: string) => text.replace(/[\[\]\\:]/g, "\\$&").replaceAll("'", "'\\''");
  const cases = entries.map(({ name, flags }) => {
    const specs = Object.entries(flags).map(([flag, { value, summary, words, list, short, file }]) => {
      const choices = words && (list ? `_sequence -s , compadd - ${words.join(" ")}` : `(${words.join(" ")})`);
      const offered = choices && file ? `{${choices}; _files}` : choices ?? (file ? "_files" : " ");
      const action = value === undefined ? "" : `:${quote(value)}:${offered}`;
      const names = short ? `{-${short},--${flag}=}` : `--${flag}${value === undefined ? "" : "="}`;
      return short
        ? `${names}'[${quote(summary)}]${action}'`
        : `'${list ? "*" : ""}${names}[${quote(summary)}]${action}'`;
    });
    return `    ${name}) _arguments ${[...specs, "'--help[Show this page]'", "'*:file:_files'"].join(" ")} ;;`;
  });
  const names = entries.map(({ name, summary }) => `'${name}:${quote(summary)}'`).join(" ");
  return `#compdef yamoe
# yamoe completions for zsh
_yamoe() {
  if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then
    local -a commands=(${names})
    _describe command commands
    return
  fi
  local command=$words[2]
  if [[ $command == -* ]]; then command=bench; else shift words; (( CURRENT-- )); fi
  case $command in
${cases.join("\n")}
  esac
}
compdef _yamoe yamoe`;
}

function fish(entries: readonly Entry[]): string {
  const quote = (text: string) => `'${text.replace(/['\\]/g, "\\$&")}'`;
  const names = entries.map(({ name }) => name).join(" ");
  const lines = entries.flatMap(({ name, summary, flags }) => [
    `complete -c yamoe -n "not __fish_seen_subcommand_from ${names}" -f -a ${name} -d ${quote(summary)}`,
    ...Object.entries(flags).map(([flag, { value, summary, words, list, short, file }]) => {
      const choices = words && quote(list ? `(__fish_append , ${words.join(" ")})` : words.join(" "));
      const argument = value === undefined ? "" : `${file ? " -r -F" : " -x"}${choices ? ` -a ${choices}` : ""}`;
      const letter = short ? ` -s ${short}` : "";
      return `complete -c yamoe -n "__fish_seen_subcommand_from ${name}" -l ${flag}${letter}${argument} -d ${
        quote(summary)
      }`;
    }),
  ]);
  return ["# yamoe completions for fish", ...lines].join("\n");
}
