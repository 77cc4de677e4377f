import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { type Backend, BackendUnavailableError, openBackend } from "../mod.ts";
import { profileCall } from "../src/bench/profile.ts";
import { profileTable } from "../src/cli/profile_table.ts";

Deno.test("profileCall() takes medians after a warm-up, and floors from the peak that limits", async () => {
  let pass = 0;
  const backend = {
    name: "cuda",
    profile() {
      pass += 1;
      const milliseconds = pass <= 3 ? 1000 : [4, 5, 9][pass % 3] ?? 0;
      return Promise.resolve([
        { kernel: "product", milliseconds, flops: 4e9, bytes: 1e6 },
        { kernel: "experts", milliseconds, flops: 0, bytes: 9e6, experts: { count: 8, bytes: 1e6 } },
        { kernel: "shared", milliseconds, flops: 0, bytes: 2e6, experts: { count: 1, bytes: 1e6 } },
        { kernel: "copy", milliseconds: 2 * milliseconds, flops: 0, bytes: 3e6 },
        { kernel: "other", milliseconds, flops: null, bytes: null },
      ]);
    },
  } as unknown as Backend;
  const peak = { teraflops: 2, gigabytesPerSecond: 1, source: "device" } as const;
  const [product, experts, shared, copy, other] = await profileCall(backend, () => Promise.resolve(), peak, 3);
  assertEquals([experts?.bytes, shared?.bytes], [4e6, 2e6]); // 3 of 8 experts have work
  assertAlmostEquals(experts?.floorMs ?? 0, 4);
  assertEquals([product?.milliseconds, copy?.milliseconds, other?.milliseconds], [5, 10, 5]);
  assertAlmostEquals(product?.floorMs ?? 0, 2);
  assertAlmostEquals(copy?.floorMs ?? 0, 3);
  assertEquals([other?.floorMs, other?.flops, other?.bytes], [null, 0, 0]);
  const [unknown] = await profileCall(backend, () => Promise.resolve(), undefined, 3);
  assertEquals(unknown?.floorMs, null);
});

Deno.test("profileCall() needs a GPU", async () => {
  using backend = await openBackend("cpu", { threads: 1 });
  await assertRejects(
    () => profileCall(backend, () => Promise.resolve(), undefined, 1),
    BackendUnavailableError,
    "Cannot profile on the cpu backend: only a GPU measures its kernels",
  );
});

Deno.test("profileTable() has a line for each kernel and the sum, in 80 columns", () => {
  const lines = profileTable([
    { kernel: "gated_wgmma_bf16_out_in", milliseconds: 0.03, floorMs: 0.015, flops: 6e9, bytes: 6e7 },
    {
      kernel: `a_kernel_with_a_name_that_is_longer_than_its_column`,
      milliseconds: 0.01,
      floorMs: null,
      flops: 0,
      bytes: 0,
    },
  ]);
  assertEquals(lines, [
    "kernel                                    time us   share  GB/s TFLOP/s of floor",
    "gated_wgmma_bf16_out_in                     30.00  75.0 %  2000   200.0   50.0 %",
    "a_kernel_with_a_name_that_is_longer_tha…    10.00  25.0 %     -       -        -",
    "sum                                         40.00 100.0 %",
  ]);
  assert(lines.every((line) => line.length <= 80));
});
