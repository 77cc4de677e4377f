import { assert, assertEquals, assertLessOrEqual, assertMatch, assertStringIncludes } from "@std/assert";
import { openCudaBackend } from "../../src/cuda/backend.ts";
import { Control } from "../emulator/control.ts";
import { toolkit } from "../toolkit.ts";
import { buildProduct } from "./emulated.ts";

/** Runs the tool, optionally with the folder of an emulated driver and the driver's faults. */
async function yamoe(folder: string | undefined, ...args: string[]) {
  return await yamoeWith("", folder, ...args);
}

async function yamoeWith(faults: string, folder: string | undefined, ...args: string[]) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "--allow-ffi", new URL("../../cli.ts", import.meta.url).pathname, ...args],
    env: { NO_COLOR: "1", ...(folder && { LD_LIBRARY_PATH: folder }), YAMOE_EMULATOR: faults },
  }).output();
  return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}

/** The driver calls that opening a backend makes: their names, and their number when it is done. */
async function callsOfOpening(folder: string): Promise<{ names: readonly string[]; count: number }> {
  const library = `${folder}/libcuda.so.1`, control = new Control(library);
  control.reset();
  using _backend = await openCudaBackend({ library });
  return { names: control.log, count: control.calls };
}

function test(name: string, fn: (folder: string) => Promise<void>): void {
  Deno.test({
    name: `yamoe on an emulated GPU: ${name}`,
    ignore: !toolkit,
    fn: async () => await fn((await buildProduct(90, { checked: false })).folder),
  });
}

test("bench gives the results of the CPU", async (folder) => {
  const run = async (backend: string) => {
    const line = `bench --preset tiny --warmup 2 --backend ${backend} --json`;
    const { code, stdout, stderr } = await yamoe(folder, ...line.split(" "));
    assertEquals(code, 0, stderr);
    return JSON.parse(stdout);
  };
  const [gpu, cpu] = [await run("cuda"), await run("cpu")];
  assertEquals([gpu.backend, gpu.device, gpu.warmup], ["cuda", "Emulated sm_90", 2]);
  assertLessOrEqual(Math.abs(gpu.outputSum / cpu.outputSum - 1), 1e-3);
  assertLessOrEqual(Math.abs(gpu.outputAbsSum / cpu.outputAbsSum - 1), 1e-5);
  assertEquals([gpu.kept, gpu.dropped, gpu.tokensPerExpert], [cpu.kept, cpu.dropped, cpu.tokensPerExpert]);
  assert(typeof gpu.uploadTimeMs === "number");
});

test("bench prints the peak GPU memory", async (folder) => {
  const { stdout } = await yamoe(folder, "--backend", "cuda", "--preset", "tiny", "--batch", "1", "--warmup", "0");
  assertMatch(stdout, /^Output sum: -?\d+\.\d{4}\nKernel time: \d+\.\d{3} ms\nPeak GPU memory: \d+\.\d\d MB\n$/);
});

test("bench --profile prints each kernel of a layer", async (folder) => {
  const line = "bench --preset tiny --op moe --batch 1 --seq 16 --warmup 1 --backend cuda --profile";
  const { code, stdout, stderr } = await yamoe(folder, ...line.split(" "));
  assertEquals(code, 0, stderr);
  const lines = stdout.trimEnd().split("\n").slice(3);
  const names = lines.map((line) => line.split(" ")[0]);
  assertEquals([names[0], names.at(-1)], ["kernel", "sum"]);
  for (const name of ["linear_f16", "route_f32", "stream32_f16_in_out", "combine_few_f16"]) {
    assert(names.includes(name), stdout);
  }
  const json = await yamoe(folder, ...line.split(" "), "--json");
  const sweep = await yamoe(folder, ...line.replace("--seq 16", "--seq 8,16 --iters 1").split(" "));
  const tables = sweep.stdout.split("\n\n").slice(1).map((table) => table.split("\n").slice(0, 2));
  assertEquals(tables.map(([title]) => title), ["Kernels of seq 8:", "Kernels of seq 16:"]);
  for (const [, heading] of tables) assertMatch(heading ?? "", /^kernel +time us +share/);
  const { profile } = JSON.parse(json.stdout);
  assertEquals(profile.map((kernel: { kernel: string }) => kernel.kernel), names.slice(1, -1));
  for (const { milliseconds, floorMs, bytes } of profile) assert(milliseconds > 0 && floorMs > 0 && bytes > 0);
});

test("a sweep also reports the times with cold caches and back to back, the device's peak and its software", async (folder) => {
  const line = "bench --preset tiny --batch 1,2 --seq 16 --iters 2 --warmup 1 --backend cuda --format json";
  const { code, stdout, stderr } = await yamoe(folder, ...line.split(" "));
  assertEquals(code, 0, stderr);
  for (const record of JSON.parse(stdout)) {
    assertEquals([record.status, record.iters, record.warmup, record.verifiedTokens], ["ok", 2, 1, 16]);
    assert(record.coldTimeMs > 0 && record.backToBackTimeMs > 0 && record.replayTimeMs > 0 && record.hostTimeMs > 0);
    assertEquals(record.profile, null);
    assertMatch(record.cubinSha256, /^[0-9a-f]{64}$/);
    assertEquals([record.driver, record.cubin, record.multiprocessors], ["CUDA 13.0", "sm_90", 4]);
    assertEquals(record.peakTflops, 4096 * 4 * record.clockMhz / 1e6);
    assertEquals(record.peakSource, "device");
    const shares = [record.tflops / record.peakTflops, record.gigabytesPerSecond / record.peakGigabytesPerSecond];
    assertLessOrEqual(Math.abs(record.percentOfPeak - 100 * Math.max(...shares)), 1e-9);
  }
});

test("verify passes", async (folder) => {
  const size = "--batch 2 --seq 32 --hidden 64 --experts 4".split(" ");
  const { code, stdout } = await yamoe(folder, "verify", "--backend", "cuda", ...size);
  assertEquals(code, 0, stdout);
  const checks = stdout.trimEnd().split("\n").slice(1);
  assertEquals(checks.filter((line) => !line.endsWith(" ok")), []);
  for (const name of ["golden tiny", "bf16 relu2", "router sparse-mixer", "f32 whole layers", "the same bits"]) {
    assert(checks.some((line) => line.startsWith(name)), name);
  }
});

test("info names the device, the driver and the kernels", async (folder) => {
  const { code, stdout } = await yamoe(folder, "info");
  assertEquals(code, 0);
  assertStringIncludes(stdout, "GPU 0: Emulated sm_90, 8.0 GiB, compute capability 9.0, 4 multiprocessors");
  assertMatch(
    stdout,
    /Kernels: sm_90, (not yet )?verified on hardware, weights in dense, mxfp4, nvfp4, int4, fp8, sha256 [0-9a-f]{64}/,
  );
  assertStringIncludes(stdout, "Driver: CUDA 13.0");
});

test("a device that does not exist is a usage error", async (folder) => {
  const { code, stderr } = await yamoe(folder, "--backend", "cuda", "--device", "3");
  assertEquals(code, 2);
  assertStringIncludes(stderr, "device must be an integer from 0 to 0, got 3");
});

const small = "bench --preset tiny --batch 1 --seq 8 --warmup 0 --iters 1".split(" ");

for (
  const [code, name] of [[803, "SYSTEM_DRIVER_MISMATCH"], [999, "UNKNOWN"], [34, "STUB_LIBRARY"], [100, "NO_DEVICE"]]
) {
  test(`a driver whose cuInit fails with ${code} leaves the CPU to --backend auto, and exit code 3 to cuda`, async (folder) => {
    const auto = await yamoeWith(`fail=2,code=${code}`, folder, ...small, "--json");
    assertEquals([auto.code, JSON.parse(auto.stdout).backend], [0, "cpu"], auto.stderr);
    const reason = code === 100 ? "Cannot find a GPU" : `cuInit failed: CUDA_ERROR_${name} (${code})`;
    assertStringIncludes(auto.stderr, reason);
    const cuda = await yamoeWith(`fail=2,code=${code}`, folder, ...small, "--backend", "cuda");
    assertEquals([cuda.code, cuda.stdout], [3, ""]);
    assertStringIncludes(cuda.stderr, reason);
    assertStringIncludes((await yamoeWith(`fail=2,code=${code}`, folder, "info")).stdout, reason);
  });
}

test("a device that is in use exclusively gives exit code 3", async (folder) => {
  const call = (await callsOfOpening(folder)).names.indexOf("cuDevicePrimaryCtxRetain") + 1;
  const { code, stderr } = await yamoeWith(`fail=${call},code=46`, folder, ...small, "--backend", "cuda");
  assertEquals(code, 3, stderr);
  assertStringIncludes(stderr, "cuDevicePrimaryCtxRetain failed: CUDA_ERROR_DEVICE_UNAVAILABLE (46)");
});

test("a fault of a kernel is the message, without a word about disposal, and exit code 1", async (folder) => {
  const call = (await callsOfOpening(folder)).count + 30;
  for (const code of [700, 226, 721, 810, 911]) {
    const { code: exit, stderr } = await yamoeWith(
      `fail=${call},code=${code},persistent=1`,
      folder,
      ...small,
      "--backend",
      "cuda",
    );
    assertEquals(exit, 1, stderr);
    assertMatch(stderr, new RegExp(`^yamoe: cu\\w+ failed: CUDA_ERROR_\\w+ \\(${code}\\)`, "m"));
    assert(!/suppress/i.test(stderr), stderr);
  }
});

test("a job that is larger than the GPU fails with exit code 1, as one that does not find its memory", async (folder) => {
  const refusal = "The job needs more than 3.0 MiB of memory on the GPU, but it has ";
  const messages = {
    20_000: refusal, // enough to open the backend
    100_000: refusal,
    3_170_000: "CUDA_ERROR_OUT_OF_MEMORY (2); the GPU is out of memory",
  };
  for (const [memory, message] of Object.entries(messages)) {
    const { code, stderr } = await yamoeWith(`memory=${memory}`, folder, ...small, "--backend", "cuda");
    assertEquals(code, 1, stderr);
    assertStringIncludes(stderr, message);
  }
});

test("a GPU without memory for the backend is not available", async (folder) => {
  const { code, stderr } = await yamoeWith("memory=1000", folder, ...small, "--backend", "cuda");
  assertEquals(code, 3, stderr);
  assertStringIncludes(stderr, "CUDA_ERROR_OUT_OF_MEMORY (2); the GPU is out of memory");
});

Deno.test("yamoe info says in one line why no GPU is available", async () => {
  const { code, stdout } = await yamoe(undefined, "info");
  assertEquals(code, 0);
  if (!stdout.includes("GPU 0")) assertMatch(stdout, /^No GPU: Cannot find the NVIDIA driver: .+$/m);
});

Deno.test("yamoe plan shows the reference job's launches, floors and memory", async () => {
  const { code, stdout } = await yamoe(undefined, "plan", "--json");
  assertEquals(code, 0);
  const plan = JSON.parse(stdout);
  assertEquals(plan.launches.length, 6);
  assertLessOrEqual(plan.peakMemoryBytes, 5200 * 2 ** 20);
  for (const { flops, bytes, floorMs } of plan.launches) {
    assertEquals(floorMs, 1000 * Math.max(flops / 989.4e12, bytes / 3.35e12));
  }
  const { stdout: text } = await yamoe(
    undefined,
    "plan",
    "--preset",
    "small",
    "--gpu",
    "rtx4090",
    "--bandwidth",
    "1",
    "--rate",
    "100",
  );
  assertStringIncludes(text, "NVIDIA GeForce RTX 4090, compute capability 8.9, kernels of sm_80; 1 TB/s, 100 TFLOP/s");
});
