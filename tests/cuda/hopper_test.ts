// The suite of every backend on an emulated Hopper: by wgmma, and, for few rows and sizes of no multiple of 8, without.
import { allVariants, testBackend } from "../backend_suite.ts";
import { toolkit } from "../toolkit.ts";
import { emulated, openEmulated } from "./emulated.ts";

for (const [rows, multiple, dtypes] of [[256, 8, ["f16", "bf16"]], [64, 1, ["f16", "f32"]]] as const) {
  const title = `cuda, ${emulated}, sm_90, tiles of ${rows} rows`;
  const variants = { ...allVariants, dtypes };
  const open = async () => (await openEmulated(90, rows)).backend;
  testBackend(title, open, { ignore: !toolkit, multiple, runs: 20, variants });
}
