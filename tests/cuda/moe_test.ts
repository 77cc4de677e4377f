import { assertRejects } from "@std/assert";
import { toolkit } from "../toolkit.ts";
import { testMoe } from "../moe_suite.ts";
import { emulated, openEmulated } from "./emulated.ts";

for (const [arch, dtypes] of [[75, ["f16"]], [80, ["f16", "bf16", "f32"]]] as const) {
  const open = async () => (await openEmulated(arch)).backend;
  testMoe(`cuda, ${emulated}, sm_${arch}`, open, { ignore: !toolkit, runs: 15, dtypes });
}

Deno.test({
  name: `cuda, ${emulated}: routers with more experts than the kernels support are refused`,
  ignore: !toolkit,
  fn: async () => {
    using backend = (await openEmulated(80)).backend;
    for (
      const [experts, topK, message] of [[1025, 1, "experts must be at most 1024"], [
        64,
        33,
        "topK must be at most 32",
      ]] as const
    ) {
      using logits = await backend.ops.full("f32", [2, experts], 0);
      await assertRejects(() => backend.ops.route(logits, { topK }), RangeError, message);
    }
  },
});
