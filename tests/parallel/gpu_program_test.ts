// tests/gpu/ranks.ts, which measures several GPUs, on eight emulated ones.
import { assertEquals, assertLess } from "@std/assert";
import { buildProduct } from "../cuda/emulated.ts";
import { toolkit } from "../toolkit.ts";

const program = new URL("../gpu/ranks.ts", import.meta.url).pathname;
const flags = "--nccl libnccl.so.2 --gpus 8 --preset tiny --tokens 8 --kill 1 --calls 1".split(" ");

Deno.test({
  name: "the measurement of several GPUs runs on eight emulated ones",
  ignore: !toolkit,
  async fn() {
    const { folder } = await buildProduct(80, { checked: false });
    const scratch = await Deno.makeTempDir({ prefix: "yamoe-nccl-" });
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-check", "--no-prompt", "-A", program, ...flags],
      env: { LD_LIBRARY_PATH: folder, YAMOE_EMULATOR: "devices=8", YAMOE_NCCL_FOLDER: scratch, NO_COLOR: "1" },
    }).output();
    await Deno.remove(scratch, { recursive: true });
    const text = new TextDecoder().decode(stdout);
    assertEquals(code, 0, text + new TextDecoder().decode(stderr));
    const [, job, summary, codes, killed] = text.trimEnd().split("\n").map((line) => JSON.parse(line));
    assertEquals(job.sameBits.assignments, true);
    assertEquals(summary.summary, "tiny, 8 tokens on each of 8 GPUs");
    assertEquals(codes.codes, Array(8).fill(0));
    assertEquals(killed.code, 1);
    assertLess(killed.milliseconds, 2000);
  },
});
