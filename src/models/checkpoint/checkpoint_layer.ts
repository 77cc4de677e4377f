/**
 * Mixture-of-Experts layers in the checkpoints of models.
 *
 * @module
 */
import type { MoeLayer } from "../../contract/moe.ts";
import type { RouterKind } from "../../routing/router.ts";
import { mapLayer, type ResolvedMoe, resolveMoe } from "../../contract/resolve_moe.ts";
import { bytesPerElement, type DType, elementCount, type Tensor, zeros } from "../../tensor/tensor.ts";
import { Checkpoint } from "./checkpoint.ts";
import { findLayer } from "./layer_names.ts";
import { planTensors } from "./layer_tensors.ts";
import { ModelConfig } from "./model_config.ts";
import { readPart } from "./read_part.ts";
import { type LayerOptions, resolveSettings } from "./settings.ts";
import type { PlannedTensor } from "./tensor_planner.ts";

/** A layer in a checkpoint. Opening it checks all names, dtypes and shapes and reads no element. */
export class CheckpointLayer implements Disposable {
  /** The model family, from config.json or the tensors' names. */
  readonly family: string;
  /** The layer's number, or undefined if the names have none. */
  readonly number: number | undefined;
  /** The dtype that holds all weights of the experts without loss. Weights of fewer bits count as bf16. */
  readonly dtype: DType;
  /** The sizes, with every option decided. */
  readonly shape: ResolvedMoe;
  /** The kind of the router. */
  readonly routerKind: RouterKind;
  /** What the user should know: tensors that are not used, and choices that the names leave open. */
  readonly notes: readonly string[];
  readonly #checkpoint: Checkpoint;
  readonly #plan: MoeLayer<PlannedTensor>;

  private constructor(
    checkpoint: Checkpoint,
    plan: MoeLayer<PlannedTensor>,
    about: Pick<CheckpointLayer, "family" | "number" | "dtype" | "shape" | "routerKind" | "notes">,
  ) {
    this.#checkpoint = checkpoint;
    this.#plan = plan;
    ({ family: this.family, number: this.number, dtype: this.dtype, shape: this.shape } = about);
    ({ routerKind: this.routerKind, notes: this.notes } = about);
  }

  /**
   * Opens a checkpoint and finds a layer in it. The names are those of the models' own checkpoints, or plain names:
   * `router.weight`, `router.bias`, `experts.gate_up_proj`, `experts.gate_up_proj_bias`, `experts.down_proj`,
   * `experts.down_proj_bias`, with or without `layers.N.` before them. The `config.json` beside the weights says how the
   * layer computes. An option replaces what it names, and nothing else.
   *
   * @param path A safetensors file, an index of several, or a directory with either.
   * @param options Which layer to open, and what replaces the model's way of computing.
   * @returns The layer. Close it with `using` or its `[Symbol.dispose]()`.
   * @throws {SafetensorsError} If a tensor is missing, truncated, overlapping, or has another dtype or shape, or if
   * something is unknown that an option could say.
   * @throws {RangeError} If an option is out of range, or does not fit another option.
   */
  static async open(path: string, options: LayerOptions = {}): Promise<CheckpointLayer> {
    using scope = new DisposableStack();
    const checkpoint = scope.use(await Checkpoint.open(path));
    const json = await checkpoint.config();
    const configOf = (component: string) => json && new ModelConfig(json.value, json.path, component);
    const names = findLayer(checkpoint, options, configOf(options.prefix?.split(".")[0] ?? "")?.count("layers"));
    const config = configOf(names.base.split(".")[0] ?? "");
    const { family, settings, notes } = resolveSettings(names, config, options);
    const { dtype, layer: plan } = await planTensors(checkpoint, names, settings);
    const tokens: Described = { dtype, shape: [1, plan.router.weight.shape[1]!] };
    const shape = resolveMoe(tokens, mapLayer(plan, (planned) => describe(planned, dtype)));
    scope.move();
    const routerKind = settings.router.kind;
    return new CheckpointLayer(checkpoint, plan, { family, number: names.layer, dtype, shape, routerKind, notes });
  }

  /** Returns the bytes of the layer's tensors in memory, with the experts' weights in a dtype. */
  bytes(dtype: DType = this.dtype): number {
    let bytes = 0;
    mapLayer(this.#plan, (planned) => bytes += elementCount(planned.shape) * bytesPerElement(planned.dtype ?? dtype));
    return bytes;
  }

  /**
   * Reads the layer's tensors into shared memory, one after the other.
   *
   * @param dtype The dtype that the experts' weights are converted to, rounded to nearest. The default is their own.
   * @param onProgress Called after each tensor with the fraction that is read.
   * @returns The layer, for {@linkcode moe}.
   * @throws {RangeError} If the allocation fails.
   */
  async read(dtype: DType = this.dtype, onProgress: (fraction: number) => void = () => {}): Promise<MoeLayer> {
    const reads: [PlannedTensor, Tensor][] = [];
    const layer = mapLayer(this.#plan, (planned) => {
      const tensor = zeros(planned.dtype ?? dtype, planned.shape);
      reads.push([planned, tensor]);
      return tensor;
    });
    const total = reads.reduce((sum, [{ shape }]) => sum + elementCount(shape), 0);
    let done = 0;
    for (const [{ parts }, tensor] of reads) {
      for (const part of parts) {
        await readPart(this.#checkpoint, part, tensor);
        onProgress((done += elementCount(part.shape)) / total);
      }
    }
    return layer;
  }

  /** Closes the files. Has no effect if they are closed. */
  [Symbol.dispose](): void {
    this.#checkpoint[Symbol.dispose]();
  }
}

type Described = Pick<Tensor, "dtype" | "shape">;

function describe({ dtype, shape }: PlannedTensor, standard: DType): Described {
  return { dtype: dtype ?? standard, shape };
}
