/**
 * Mixture-of-Experts layers from the checkpoints of models.
 *
 * @module
 */
import type { MoeLayer } from "../../contract/moe.ts";
import type { RouterKind } from "../../routing/router.ts";
import { mapLayer, type ResolvedMoe, resolveMoe } from "../../contract/resolve_moe.ts";
import { bytesPerElement, type DType, elementCount, type Tensor, zeros } from "../../tensor/tensor.ts";
import { Checkpoint } from "./checkpoint.ts";
import { type PlannedTensor, planTensors } from "./layer_tensors.ts";
import { findLayer } from "./layer_names.ts";
import { readPart } from "./read_part.ts";
import { type LayerOptions, resolveSettings } from "./settings.ts";

/** A layer in a checkpoint: everything about it is known and checked, none of its numbers read. */
export class CheckpointLayer implements Disposable {
  /** The family of models whose layer it is, as the configuration or the tensors' names tell. */
  readonly family: string;
  /** The layer's number; undefined where the names have none. */
  readonly number: number | undefined;
  /** The dtype of the weights in the file, or what those of fewer bits are made into. */
  readonly dtype: DType;
  /** The sizes, and everything decided. */
  readonly shape: ResolvedMoe;
  /** How the router decides. */
  readonly routerKind: RouterKind;
  /** What was found and will not be used. */
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
   * Opens a checkpoint and finds a layer in it. The names are those of Hugging Face's checkpoints of gpt-oss (MXFP4 too),
   * Mixtral, Qwen3-MoE, DeepSeek-V3 (FP8 too), Kimi-K2, GLM-4.5, OLMoE, Llama 4 and Granite, or the plain ones:
   * `router.weight`, `router.bias`, `experts.gate_up_proj`, `experts.gate_up_proj_bias`, `experts.down_proj`,
   * `experts.down_proj_bias`, with or without `layers.N.` before them. Where there is a `config.json` beside, it says how
   * the layer computes; what the options say goes before that.
   *
   * @param path A safetensors file, an index of several, or the directory of either.
   * @param options Which layer, and what is to differ from the model's way of computing.
   * @returns The layer. Close it with `using` or its `[Symbol.dispose]()`.
   * @throws {SafetensorsError} If a tensor is missing, truncated, overlapping, or of another dtype or shape, by its name;
   * or if something is left open that the options can tell.
   * @throws {RangeError} If an option is out of range, or has no meaning with another.
   */
  static async open(path: string, options: LayerOptions = {}): Promise<CheckpointLayer> {
    using scope = new DisposableStack();
    const checkpoint = scope.use(await Checkpoint.open(path));
    const names = findLayer(checkpoint, options.layer);
    const { family, settings, notes } = resolveSettings(names, await checkpoint.config(), options);
    const { dtype, layer: plan } = await planTensors(checkpoint, names, settings);
    const tokens: Described = { dtype, shape: [1, plan.router.weight.shape[1]!] };
    const shape = resolveMoe(tokens, mapLayer(plan, (planned) => describe(planned, dtype)));
    scope.move();
    const routerKind = settings.router.kind!;
    return new CheckpointLayer(checkpoint, plan, { family, number: names.layer, dtype, shape, routerKind, notes });
  }

  /** Bytes of the layer's tensors in memory, with the experts' weights in a dtype. */
  bytes(dtype: DType = this.dtype): number {
    let bytes = 0;
    mapLayer(this.#plan, (planned) => bytes += elementCount(planned.shape) * bytesPerElement(planned.dtype ?? dtype));
    return bytes;
  }

  /**
   * Reads the layer's tensors into shared memory, one after the other, each straight to its place.
   *
   * @param dtype What the experts' weights are converted to, rounded to nearest. Defaults to theirs.
   * @param onProgress Called now and then with the fraction that is done.
   * @returns The layer, for {@linkcode moe}.
   * @throws {RangeError} If the memory cannot be had.
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

  /** Closes the files; twice is no error. */
  [Symbol.dispose](): void {
    this.#checkpoint[Symbol.dispose]();
  }
}

type Described = Pick<Tensor, "dtype" | "shape">;

function describe({ dtype, shape }: PlannedTensor, standard: DType): Described {
  return { dtype: dtype ?? standard, shape };
}
