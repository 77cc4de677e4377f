import { command } from "./command.ts";

export default command({
  flags: {},
  operands: "bash|zsh|fish",
  examples: {
    "yamoe completions bash":
      "The script for bash; to have it in every shell, write it to a file that ~/.bashrc sources",
    "yamoe completions fish": "The same for fish, in ~/.config/fish/completions/yamoe.fish",
  },
  details: [
    "The script is made from the flags there are. It completes commands, flags and the words that a flag takes.",
  ],
  run: async (_values, operands) => (await import("./completions_run.ts")).run(operands),
});
