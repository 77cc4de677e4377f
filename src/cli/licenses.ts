import licenses from "../third_party_licenses.txt" with { type: "text" };
import { command, exitCode, printData } from "./command.ts";

export default command({
  flags: {},
  examples: { "yamoe licenses": "Every package that the executable contains, with its license text" },
  run() {
    printData(licenses.trimEnd());
    return Promise.resolve(exitCode.done);
  },
});
