import { assertEquals, assertRejects } from "@std/assert";
import { convert, Generator, tensor } from "../../mod.ts";
import { runMoe } from "../../src/backend/run_moe.ts";
import { resolveMoe } from "../../src/contract/resolve_moe.ts";
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

Deno.test({
  name: `cuda, ${emulated}: a repeated layer runs as one graph, with the bits of its separate steps`,
  ignore: !toolkit,
  fn: async () => {
    const { backend: opened, control } = await openEmulated(80);
    using backend = opened;
    control.reuseAddresses(true);
    using scope = new DisposableStack();
    const random = new Generator(5);
    const upload = (shape: number[], dtype: "f16" | "f32" = "f16") =>
      scope.use(backend.upload(convert(tensor(random.randn(shape).data as Float32Array, shape), dtype)));
    const [T, I, E] = [21, 24, 40];
    for (const [H, kind] of [[32, "sigmoid"], [96, "softmax"], [96, "sigmoid-input"]] as const) {
      const layer = {
        gateUpProj: upload([E, H, 2 * I]),
        downProj: upload([E, I, H]),
        router: {
          weight: upload([E, H], "f32"),
          bias: upload([E], "f32"),
          options: { kind, topK: 2, ...kind === "sigmoid" && { correctionBias: upload([E], "f32") } },
        },
      };
      const hidden = upload([T, H]);
      using steps = await runMoe(backend, { hidden, layer, shape: resolveMoe(hidden, layer) });
      const expected = await backend.download(steps);
      const run = async () => {
        const { length } = control.log;
        using output = await backend.moe(hidden, layer);
        assertEquals(await backend.download(output), expected, `${kind}, H ${H}`);
        return control.log.slice(length).filter((call) => call.includes("Launch"));
      };
      // The linear layer, the choice, and the kernels of `experts`.
      assertEquals(await run(), Array(6).fill("cuLaunchKernelEx"));
      for (let i = 0; i < 3; i++) await run();
      assertEquals(await run(), ["cuGraphLaunch"]);
    }
  },
});
