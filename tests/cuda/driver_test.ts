import { assert, assertEquals, assertInstanceOf, assertStringIncludes, assertThrows } from "@std/assert";
import { BackendUnavailableError, CudaError } from "../../mod.ts";
import { CudaBackend, openCudaBackend } from "../../src/cuda/backend.ts";
import { Context } from "../../src/cuda/driver/context.ts";
import { loadImage } from "../../src/cuda/images/load.ts";
import { manifest } from "../../src/cuda/images/built/manifest.ts";
import { Driver } from "../../src/cuda/driver/driver.ts";
import type { KernelLaunch } from "../../src/cuda/driver/kernel.ts";
import { DeviceBuffer } from "../../src/cuda/driver/memory.ts";
import { Module } from "../../src/cuda/driver/module.ts";
import { Stream } from "../../src/cuda/driver/stream.ts";
import { MemoryCounter } from "../../src/backend/memory_counter.ts";
import { buildMutant } from "../emulator/build.ts";
import { Control } from "../emulator/control.ts";
import { toolkit } from "../toolkit.ts";
import { buildProduct, productSources } from "./emulated.ts";

function test(name: string, fn: (library: string, control: Control) => void | Promise<void>): void {
  Deno.test({
    name: `driver: ${name}`,
    ignore: !toolkit,
    fn: async () => {
      const { library } = await buildProduct(80);
      const control = new Control(library);
      control.reset();
      await fn(library, control);
      control.reset();
      assertEquals(control.live, "", "not freed");
    },
  });
}

test("a missing device, an old driver and a missing library have different messages", (library, control) => {
  control.devices = 0;
  assertThrows(
    () => new Driver(library),
    BackendUnavailableError,
    "Cannot find a GPU: the NVIDIA driver is installed but reports no device",
  );
  control.reset();
  control.driverVersion = 12080;
  assertThrows(
    () => new Driver(library),
    BackendUnavailableError,
    "it supports CUDA 12.8, but CUDA 13.0 (driver 580) is needed",
  );
  assertThrows(
    () => new Driver("/nowhere/libcuda.so.1"),
    BackendUnavailableError,
    "Cannot find the NVIDIA driver: /nowhere/libcuda.so.1 was not found",
  );
});

Deno.test("driver: without the permission the message says so", async () => {
  const script = `import { Driver } from "${new URL(
    "../../src/cuda/driver/driver.ts",
    import.meta.url,
  )}"; new Driver();`;
  const { stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", `data:text/typescript,${encodeURIComponent(script)}`],
  }).output();
  assertStringIncludes(new TextDecoder().decode(stderr), "opening it needs the permission --allow-ffi");
});

test("a library that lacks functions is an old driver", () => {
  using scope = new DisposableStack();
  const library = Deno.makeTempFileSync({ suffix: ".so" });
  scope.defer(() => Deno.removeSync(library));
  const args = ["-shared", "-o", library, "-x", "c++", "/dev/null"];
  const { success } = new Deno.Command("g++", { args }).outputSync();
  assert(success);
  assertThrows(() => new Driver(library), BackendUnavailableError, "it is too old");
});

test("a library that cannot be loaded is reported with the loader's reason", () => {
  using scope = new DisposableStack();
  const library = Deno.makeTempFileSync({ suffix: ".so" });
  scope.defer(() => Deno.removeSync(library));
  Deno.writeTextFileSync(library, "this is not a library");
  const { message } = assertThrows(
    () => new Driver(library),
    BackendUnavailableError,
    "Cannot load the NVIDIA driver: ",
  );
  assertEquals(message, `Cannot load the NVIDIA driver: ${library}: file too short`);
  const { success } = new Deno.Command("g++", {
    args: [
      "-shared",
      "-o",
      library,
      "-x",
      "c++",
      "/dev/null",
      "-Wl,--no-as-needed",
      "-x",
      "none",
      missingDependency(scope),
    ],
  }).outputSync();
  assert(success);
  assertThrows(() => new Driver(library), BackendUnavailableError, "libdependency.so: cannot open shared object file");
});

/** A shared library that is deleted again, so that a library that is linked with it cannot be loaded. */
function missingDependency(scope: DisposableStack): string {
  const folder = Deno.makeTempDirSync();
  scope.defer(() => Deno.removeSync(folder, { recursive: true }));
  const path = `${folder}/libdependency.so`;
  const args = ["-shared", "-Wl,-soname,libdependency.so", "-o", path, "-x", "c++", "/dev/null"];
  assert(new Deno.Command("g++", { args }).outputSync().success);
  return path;
}

test("every driver call that fails while a GPU opens makes the backend unavailable", async (library, control) => {
  const image = await loadImage("sm_80"); // once, because unpacking it takes longer than all else
  for (const persistent of [false, true]) {
    for (let call = 1;; call++) {
      control.fail(call, 46, persistent);
      const failure = await openCudaBackend({ library, image }).catch((error: unknown) => error);
      const api = control.failedCall;
      control.fail(0, 0);
      if (failure instanceof CudaBackend) {
        failure[Symbol.dispose]();
        break;
      }
      assertInstanceOf(failure, BackendUnavailableError, api);
      assertInstanceOf(failure.cause, CudaError);
      assertEquals(failure.cause.codeName, "CUDA_ERROR_DEVICE_UNAVAILABLE");
      if (!persistent) assertEquals(failure.cause.api, api);
    }
  }
});

test("a device that does not exist is refused", async (library) => {
  for (const device of [-1, 1, 0.5]) {
    let message = "";
    await openCudaBackend({ library, device }).catch((error: Error) => message = error.message);
    assertEquals(message, `device must be an integer from 0 to 0, got ${device}`);
  }
});

test("an error has the function, the code and its name", (library) => {
  const driver = new Driver(library);
  const error = assertThrows(() => driver.call("cuDeviceGet", new Int32Array(1), 7), CudaError);
  assertEquals([error.api, error.code, error.codeName, error.poisoned], [
    "cuDeviceGet",
    101,
    "CUDA_ERROR_INVALID_DEVICE",
    false,
  ]);
  assertEquals(error.message, "cuDeviceGet failed: CUDA_ERROR_INVALID_DEVICE (101)");
});

test("running out of memory leaves everything usable", (library, control) => {
  control.memory = 1000;
  using context = new Context(new Driver(library), 0);
  using stream = new Stream(context);
  const counter = new MemoryCounter();
  const error = assertThrows(() => new DeviceBuffer(stream, 2000, counter), CudaError, "the GPU is out of memory");
  assertEquals(error.code, 2);
  using buffer = new DeviceBuffer(stream, 500, counter);
  assertEquals([buffer.bytes, counter.liveBytes], [500, 500]);
});

test("the image of another architecture, a damaged one and a stale one are refused", async (library, control) => {
  using context = new Context(new Driver(library), 0);
  const load = async (name: string, change = (image: Uint8Array<ArrayBuffer>) => image) => {
    const image = change(await loadImage(name));
    return assertThrows(() => new Module(context, image, []), CudaError).code;
  };
  assertEquals(await load("sm_90"), 209);
  assertEquals(await load("sm_75"), 209);
  assertEquals(await load("sm_80", (image) => image.fill(0, 0, 4)), 200);
  using _cubin = new Module(context, await loadImage("sm_80"), manifest.images.sm_80!.kernels);
  using _ptx = new Module(context, await loadImage("compute_80"), manifest.images.compute_80!.kernels);

  // An emulator of sources in which a kernel has one argument more than in the cubin. Other tests need the rest of these objects.
  const sources = productSources(90);
  const sort = sources.find((path) => path.endsWith("/sort.cu"))!;
  const text = (await Deno.readTextFile(sort)).replace("int experts, blocks, ", "int more, experts, blocks, ");
  const folder = await Deno.makeTempDir();
  const newer = await buildMutant({ arch: 90, sources }, { path: sort, text }, folder);
  const newerControl = new Control(newer!);
  using other = new Context(new Driver(newer), 0);
  await Deno.remove(folder, { recursive: true });
  const stale = await loadImage("sm_90");
  assertEquals(assertThrows(() => new Module(other, stale, []), CudaError).code, 200);
  assertStringIncludes(newerControl.report, "the image is stale: the parameters of sort_scan");
  assertEquals(control.report, "the image is neither a cubin nor PTX");
});

test("a launch with wrong arguments, threads or shared memory is refused", async (library, control) => {
  using context = new Context(new Driver(library), 0);
  const records = manifest.images.sm_80!.kernels;
  using module = new Module(context, await loadImage("sm_80"), records);
  using stream = new Stream(context);
  const args = { indices: 0n, counts: 0n, n: 1, chunk: 256, experts: 1 };
  const good: KernelLaunch = { kernel: "sort_histogram", blocks: 1, threads: 256, sharedBytes: 0, arguments: args };
  const { chunk: _, ...missing } = args;
  const wrong: [KernelLaunch["arguments"], ErrorConstructor, string][] = [
    [missing, TypeError, "the argument chunk is missing"],
    [{ ...args, chunks: 3 }, TypeError, "it does not have an argument chunks"],
    [{ ...args, indices: 0 }, RangeError, "the argument indices must be a device pointer (8 bytes), got 0"],
    [{ ...args, n: 1n }, TypeError, "the argument n must be a 32-bit integer, got 1n"],
    [{ ...args, n: null }, TypeError, "the argument n must be a 32-bit integer, got null"],
    [{ ...args, n: 1.5 }, RangeError, "the argument n must be a 32-bit integer, got 1.5"],
    [{ ...args, n: 2 ** 31 }, RangeError, "the argument n must be a 32-bit integer, got 2147483648"],
  ];
  for (const [values, type, message] of wrong) {
    const launch = () => module.launch(stream, { ...good, arguments: values });
    assertThrows(launch, type, `Cannot launch sort_histogram: ${message}`);
  }
  assertThrows(
    () => module.launch(stream, { ...good, kernel: "sort" }),
    TypeError,
    "Cannot launch sort: the image does not have this kernel",
  );
  const codeOf = (change: Partial<KernelLaunch>) =>
    assertThrows(() => module.launch(stream, { ...good, ...change }), CudaError).code;
  assertEquals(codeOf({ threads: 512 }), 701);
  assertEquals(codeOf({ blocks: 0 }), 1);
  assertEquals(codeOf({ sharedBytes: 200_000 }), 1);

  // A record with the wrong size leads to a buffer that does not match the cubin.
  const mistaken = records.map((record) =>
    record.name === "sort_histogram" ? { ...record, argumentsBytes: record.argumentsBytes + 8 } : record
  );
  using other = new Module(context, await loadImage("sm_80"), mistaken);
  assertThrows(() => other.launch(stream, good), CudaError);
  assertStringIncludes(control.report, "sort_histogram: the argument buffer has 40 bytes, the cubin expects 32");
});

test("a kernel's fault poisons the context, and a fresh one works", async (library, control) => {
  if (!control.checked) return;
  const run = async (pointer?: bigint) => {
    using context = new Context(new Driver(library), 0);
    using module = new Module(context, await loadImage("sm_80"), manifest.images.sm_80!.kernels);
    using stream = new Stream(context);
    const counter = new MemoryCounter();
    using indices = new DeviceBuffer(stream, 4, counter);
    using counts = new DeviceBuffer(stream, 4, counter);
    indices.write(Int32Array.of(0));
    module.launch(stream, {
      ...{ kernel: "sort_histogram", blocks: 1, threads: 256, sharedBytes: 4 },
      arguments: { indices: pointer ?? indices.pointer, counts: counts.pointer, n: 1, chunk: 256, experts: 1 },
    });
    const first = pointer &&
      assertThrows(() => stream.synchronize(), CudaError, "a kernel accessed an invalid address");
    if (first) {
      const second = assertThrows(() => stream.synchronize(), CudaError, "the context was lost before");
      assertEquals([second.code, second.cause], [700, first]);
    }
    const out = new Int32Array(1);
    if (!first) {
      counts.read(out);
      stream.synchronize();
    }
    return out[0];
  };
  await run(4096n);
  assertEquals(await run(), 1);
});
