import { toolkit } from "../toolkit.ts";
import { testMoe } from "../moe_suite.ts";
import { emulated, openEmulated } from "./emulated.ts";

for (const arch of [75, 80]) {
  const open = async () => (await openEmulated(arch)).backend;
  testMoe(`cuda, ${emulated}, sm_${arch}`, open, { ignore: !toolkit, multiple: 8, runs: 15, dtypes: ["f16"] });
}
