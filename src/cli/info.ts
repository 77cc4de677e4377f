import { BackendUnavailableError } from "../backend/unavailable_error.ts";
import { findBlas } from "../cpu/blas.ts";
import { cpuName } from "../cpu/device.ts";
import { chooseImage, formatCapability } from "../cuda/images/load.ts";
import { manifest } from "../cuda/images/built/manifest.ts";
import { type DeviceProperties, deviceProperties } from "../cuda/driver/device.ts";
import { Driver, formatVersion } from "../cuda/driver/driver.ts";
import { isVerified } from "../cuda/images/verified.ts";
import { type DrawnFormat, drawnFormats } from "../workload/drawn_weights.ts";
import { toJson } from "../report/json.ts";
import { wrap } from "../report/wrap.ts";
import { formatBytes, plural } from "../text.ts";
import { version } from "../version.ts";
import { command, exitCode, outputWidth, printData } from "./command.ts";
import { toggle } from "./flags.ts";

/** A GPU and the kernels that run on it, or why none do. */
interface GpuInfo extends DeviceProperties {
  readonly image: string | null;
  readonly imageSha256: string | null;
  /** The formats of weights that the kernels read. */
  readonly weights: readonly DrawnFormat[];
  /** Whether the kernels have passed `yamoe verify` on hardware. */
  readonly verified: boolean;
  readonly unavailable: string | null;
}

interface Info {
  readonly version: string;
  readonly deno: string;
  readonly os: string;
  readonly cpu: string;
  readonly threads: number;
  /** What multiplies on the CPU, and the path of the library if it is one. */
  readonly engine: string;
  readonly blas: string | null;
  /** The CUDA version that the driver supports. */
  readonly driver: string | null;
  readonly gpus: readonly GpuInfo[];
  /** Why no GPU can be used. */
  readonly noGpu: string | null;
}

export default command({
  flags: { json: toggle("Print one JSON object") },
  examples: { "yamoe info": "The CPU and the GPUs of this machine" },
  run({ json }) {
    const info = collect();
    if (json) printData(toJson(info));
    else describe(info).flatMap((line) => wrap(line, outputWidth())).forEach(printData);
    return Promise.resolve(exitCode.done);
  },
});

function collect(): Info {
  const blas = findBlas("auto");
  const host = {
    version,
    deno: Deno.version.deno,
    os: `${Deno.build.os} ${Deno.build.arch}`,
    cpu: cpuName(),
    threads: navigator.hardwareConcurrency,
    engine: blas?.name ?? "WebAssembly",
    blas: blas?.path ?? null,
  };
  try {
    const driver = new Driver();
    const gpus = Array.from({ length: driver.deviceCount }, (_, ordinal) => gpuInfo(deviceProperties(driver, ordinal)));
    return { ...host, driver: formatVersion(driver.version), gpus, noGpu: null };
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return { ...host, driver: null, gpus: [], noGpu: error.message };
  }
}

function gpuInfo(properties: DeviceProperties): GpuInfo {
  try {
    const image = chooseImage(properties.computeCapability);
    return {
      ...properties,
      image,
      imageSha256: manifest.images[image]!.sha256,
      weights: drawnFormats,
      verified: isVerified(image),
      unavailable: null,
    };
  } catch (error) {
    if (!(error instanceof BackendUnavailableError)) throw error;
    return { ...properties, image: null, imageSha256: null, weights: [], verified: false, unavailable: error.message };
  }
}

function describe(info: Info): string[] {
  const gpuLines = info.gpus.flatMap((gpu) => [
    `GPU ${gpu.ordinal}: ${gpu.name}, ${formatBytes(gpu.memoryBytes)}, compute capability ` +
    `${formatCapability(gpu.computeCapability)}, ${plural(gpu.multiprocessors, "multiprocessor")}, ${gpu.uuid}`,
    gpu.image
      ? `  Kernels: ${gpu.image}, ${gpu.verified ? "" : "not yet "}verified on hardware, weights in ${
        gpu.weights.join(", ")
      }, ` +
        `sha256 ${gpu.imageSha256}`
      : `  ${gpu.unavailable}`,
  ]);
  return [
    `yamoe ${info.version}, Deno ${info.deno}, ${info.os}`,
    `CPU: ${info.cpu}, ${plural(info.threads, "thread")}, ${info.engine}${info.blas ? ` (${info.blas})` : ""}`,
    ...(info.driver ? [`Driver: CUDA ${info.driver}`] : []),
    ...gpuLines,
    ...(info.noGpu ? [`No GPU: ${info.noGpu}`] : []),
  ];
}
