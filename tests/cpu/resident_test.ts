import { assert, assertEquals } from "@std/assert";
import { residentBytes, systemReserve } from "../../src/cpu/resident.ts";
import { makeJob, requiredBytes } from "../../src/workload/workload.ts";

const cli = new URL("../../cli.ts", import.meta.url).pathname;

/** The peak resident memory of a run of the bench, in bytes. */
async function peakOf(flags: readonly string[]): Promise<number> {
  const args = ["run", "-A", "--no-check", cli, "bench", "--backend", "cpu", "--json", "--iters", "2", ...flags];
  const child = new Deno.Command(Deno.execPath(), { args, stdout: "null", stderr: "piped" }).spawn();
  let peak = 0;
  // Deno itself reads /proc only with all permissions.
  const readStatus: Deno.CommandOptions = { args: [`/proc/${child.pid}/status`], stderr: "null" };
  const timer = setInterval(() => {
    const status = new TextDecoder().decode(new Deno.Command("cat", readStatus).outputSync().stdout);
    peak = Math.max(peak, 1024 * Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0));
  }, 20);
  const { code, stderr } = await child.output();
  clearInterval(timer);
  assertEquals(code, 0, new TextDecoder().decode(stderr));
  return peak;
}

for (const [blas, threads, tokens] of [["none", 2, 16], ["auto", 2, 512], ["none", 4, 512]] as const) {
  Deno.test({
    name:
      `residentBytes() is not less than a run takes, and not far more: ${threads} threads, ${tokens} tokens, BLAS ${blas}`,
    ignore: Deno.build.os !== "linux",
    fn: async () => {
      const peak = await peakOf([
        ...["--preset", "granite-3.0-1b-a400m", "--tokens", `${tokens}`, "--threads", `${threads}`, "--blas", blas],
      ]);
      const job = makeJob("granite-3.0-1b-a400m", { batch: 1, seq: tokens });
      const estimate = residentBytes(job, { threads, hasBlas: true, verify: true });
      assert(peak <= estimate, `${peak} of ${estimate}`);
      assert(peak >= requiredBytes(job) && estimate - peak < 600e6, `${peak} of ${estimate}`);
    },
  });
}

Deno.test("residentBytes() of DeepSeek-V3 exceeds what a machine of 23 GiB has", () => {
  const job = makeJob("deepseek-v3", { batch: 1, seq: 16 });
  const available = 21.5 * 2 ** 30;
  assert(requiredBytes(job) < available, "the tensors alone fit");
  assert(residentBytes(job, { threads: 2, hasBlas: true, verify: true }) + systemReserve(available) > available);
});
