import { assertEquals } from "@std/assert";
import { watchGpu } from "../../src/bench/gpu_watch.ts";
import { managedGpu } from "../../src/nvml/nvml.ts";

const uuid = "GPU-00000000-0000-0000-0000-000000000001";

/** Compiles the library; undefined without a compiler. */
function buildLibrary(): string | undefined {
  const folder = Deno.makeTempDirSync();
  const path = `${folder}/libnvidia-ml.so.1`;
  const source = new URL("fake_nvml.c", import.meta.url).pathname;
  try {
    const { success } = new Deno.Command("cc", { args: ["-shared", "-fPIC", "-o", path, source] }).outputSync();
    return success ? path : undefined;
  } catch {
    return undefined; // not installed
  }
}

const library = Deno.build.os === "linux" ? buildLibrary() : undefined;

Deno.test("watchGpu() knows nothing of a CPU", () => {
  const watch = watchGpu(null);
  watch.sample();
  assertEquals(watch.figures(3).runClockMhz, null);
});

Deno.test({
  name: "watchGpu() reads clocks, power, temperature, energy and slowdowns from the management library",
  ignore: library === undefined,
  fn() {
    const gpu = managedGpu(uuid, ["/missing/libnvidia-ml.so.1", library ?? ""]);
    assertEquals(managedGpu("GPU-2"), undefined);
    const watch = watchGpu(uuid, gpu); // the first read
    watch.sample(); // the second
    watch.sample(); // too early to read again
    assertEquals(watch.figures(2), { // the third
      runClockMhz: 1980,
      runMemoryClockMhz: 2619,
      powerWatts: 650.5,
      temperatureCelsius: 62,
      energyPerCallJoules: 2,
      throttleReasons: [],
    });
    assertEquals(gpu?.read().throttleReasons, ["power limit"]);
  },
});
