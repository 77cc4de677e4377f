import type { Backend, BackendTensor } from "../backend/backend.ts";
import { expectFunction, expectObject, expectOneOf } from "../contract/checks.ts";
import type { MoeLayer } from "../contract/moe.ts";
import { checkNames } from "../known_names.ts";
import { CheckpointLayer } from "../models/checkpoint/checkpoint_layer.ts";
import { backendTarget } from "../models/checkpoint/layer_target.ts";
import { filePath } from "../safetensors/file_path.ts";
import type { PackedFormat } from "../tensor/packed_tensor.ts";
import { describeValue, type DType, floatDTypes } from "../tensor/tensor.ts";

/** Options of {@linkcode openLayer}. */
export interface OpenLayerOptions {
  /** The backend that gets the tensors. */
  readonly backend: Backend;
  /** The number of the layer. It may be absent if the checkpoint has only one. */
  readonly layer?: number | undefined;
  /** What the names of the layer's tensors begin with, such as `talker.`. By default, the language model's count. */
  readonly prefix?: string | undefined;
  /** The dtype of the experts' dense weights, and so of the hidden states. The default is the one that the files have. */
  readonly dtype?: DType | undefined;
  /** Called with the fraction that is read. */
  readonly onProgress?: ((fraction: number) => void) | undefined;
}

/** Every option; the compiler reports a missing one. */
const knownOptions: Readonly<Record<keyof OpenLayerOptions, true>> = {
  backend: true,
  layer: true,
  prefix: true,
  dtype: true,
  onProgress: true,
};

/**
 * Opens a layer of a model's checkpoint: router, experts and shared expert, with its tensors on a backend. The
 * `config.json` beside the weights says how the layer computes. Each tensor is uploaded before the next one is read. Quantized
 * weights of the experts stay packed if the backend {@linkcode Backend.supports} their format, and are decoded otherwise.
 * Switch Transformers keep only the first `expert_capacity` of an expert's tokens in a sequence, so give each call one sequence.
 * A layer whose router has a `tokenTable` (DeepSeek-V4's first layers) needs the option `tokenIds` of each call.
 *
 * @param path The path or file URL of a safetensors file, of an index of several, or of a directory with either.
 * @param options The backend, and which layer.
 * @returns The layer, for {@linkcode Backend.moe}. Dispose it to free the memory of its tensors.
 * @throws {SafetensorsError} If a tensor is missing or malformed, or the model's family or format is not supported.
 * @throws {RangeError} If the allocation fails, or `layer` or `dtype` is out of range.
 * @throws {TypeError} If an option is unknown, or `path` or an option is of a wrong type.
 *
 * @example From a checkpoint to an output
 * ```ts
 * import { openBackend, openLayer, tensor } from "@yamoe/yamoe";
 * import { assertEquals } from "@std/assert";
 *
 * using backend = await openBackend("cpu");
 * using layer = await openLayer("fixtures/layers/deepseek-v3", { backend });
 * using hidden = backend.upload(tensor(new Float32Array(2 * 48).fill(0.5), [2, 48]));
 * using output = await backend.moe(hidden, layer);
 * assertEquals(output.shape, [2, 48]);
 * ```
 */
export async function openLayer(
  path: string | URL,
  options: OpenLayerOptions,
): Promise<MoeLayer<BackendTensor> & Disposable> {
  expectObject("options", options);
  checkNames("options", options, Object.keys(knownOptions));
  checkOptions(options);
  const { backend, layer, prefix, dtype, onProgress } = options;
  using scope = new DisposableStack();
  using found = await CheckpointLayer.open(filePath(path), { layer, prefix });
  const supports = (format: PackedFormat) => backend.supports(format);
  const tensors = await found.readTo(backendTarget(backend, scope), { dtype, supports, onProgress });
  const owned = scope.move();
  return { ...tensors, [Symbol.dispose]: () => owned.dispose() };
}

function checkOptions({ backend, layer, prefix, dtype, onProgress }: OpenLayerOptions): void {
  if (typeof backend !== "object" || backend === null || typeof backend.upload !== "function") {
    throw new TypeError(`backend must be a backend, as openBackend() opens it, got ${describeValue(backend)}`);
  }
  if (layer !== undefined && !(Number.isSafeInteger(layer) && layer >= 0)) {
    throw new RangeError(`layer must be an integer of at least 0, got ${describeValue(layer)}`);
  }
  if (prefix !== undefined && typeof prefix !== "string") {
    throw new TypeError(`prefix must be a string, got ${describeValue(prefix)}`);
  }
  if (dtype !== undefined) expectOneOf("dtype", dtype, floatDTypes);
  if (onProgress !== undefined) expectFunction("onProgress", onProgress);
}
