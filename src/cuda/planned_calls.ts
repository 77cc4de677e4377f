// Runs calls that have a plan: `experts`, and layers that consist of a router and experts. A repeated call is one graph.
import type { BackendTensor } from "../backend/backend.ts";
import type { Captures } from "../backend/captures.ts";
import type { ExpertsInputs } from "../contract/experts.ts";
import { inputNames } from "../contract/experts_inputs.ts";
import type { MoeLayer } from "../contract/moe.ts";
import type { ExpertsCall, ResolvedExperts } from "../contract/resolve_experts.ts";
import { layerWeights, type ResolvedMoe } from "../contract/resolve_moe.ts";
import { isPacked } from "../tensor/packed_tensor.ts";
import type { DType } from "../tensor/tensor.ts";
import { type Addresses, GraphCache } from "./driver/graph_cache.ts";
import type { DeviceBuffer } from "./driver/memory.ts";
import type { Stream } from "./driver/stream.ts";
import { PlanCache } from "./plan_cache.ts";
import type { PreparedPlan } from "./prepared_plan.ts";
import type { Recording } from "./recording.ts";
import type { CudaTensor } from "./tensor.ts";
import { withUploadedFormats } from "./uploaded_formats.ts";
import { partPointers } from "./weight_pointers.ts";

/** The services of the backend that calls use. */
export interface CallHost {
  readonly stream: Stream;
  readonly captures: Captures<Recording>;
  allocate(dtype: DType, shape: readonly number[]): CudaTensor;
  allocateBytes(bytes: number): DeviceBuffer;
  /** Checks that a tensor belongs to the backend. */
  own(tensor: BackendTensor): CudaTensor;
}

/** The inputs of a call. A router computes those that are missing. */
type CallInputs =
  & Partial<ExpertsInputs<BackendTensor>>
  & Pick<ExpertsInputs<BackendTensor>, "gateUpProj" | "downProj">;

/** Runs planned calls, and keeps their plans and graphs. */
export class PlannedCalls implements Disposable {
  readonly #host: CallHost;
  readonly #experts: PlanCache<ResolvedExperts>;
  readonly #layers: PlanCache<ResolvedMoe>;
  readonly #graphs = new GraphCache();

  /**
   * @param host The backend.
   * @param planExperts Plans a call of `experts`.
   * @param planLayer Plans a layer.
   */
  constructor(
    host: CallHost,
    planExperts: (shape: ResolvedExperts) => PreparedPlan,
    planLayer: (shape: ResolvedMoe) => PreparedPlan,
  ) {
    this.#host = host;
    this.#experts = new PlanCache(planExperts);
    this.#layers = new PlanCache(planLayer);
  }

  /** Runs the experts. */
  experts({ inputs, shape }: ExpertsCall<BackendTensor>): CudaTensor {
    const uploaded = withUploadedFormats(shape, inputs);
    return this.#run(uploaded, () => this.#experts.get(uploaded), inputs);
  }

  /** Runs a layer that `isPlannable`. */
  layer(hiddenStates: BackendTensor, layer: MoeLayer<BackendTensor>, shape: ResolvedMoe): CudaTensor {
    const { weight, bias, options: { correctionBias } } = layer.router;
    const inputs = { hiddenStates, ...layerWeights(layer) };
    return this.#run(shape.routed, () => this.#layers.get(shape), inputs, [weight, bias, correctionBias]);
  }

  /**
   * Allocates the memory of a call, queues its launches, and frees all memory except for the output.
   *
   * @param plan Returns the plan; it is not called without tokens.
   * @param router The router's tensors, in the order of `routerTensors`.
   */
  #run(
    { dtype, tokens, hidden }: ResolvedExperts,
    plan: () => PreparedPlan,
    inputs: CallInputs,
    router: readonly (BackendTensor | undefined)[] = [undefined, undefined, undefined],
  ): CudaTensor {
    const { allocate, allocateBytes, own } = this.#host;
    using cleanup = new DisposableStack();
    const output = cleanup.use(allocate(dtype, [tokens, hidden]));
    const pointerOf = (tensor: BackendTensor | undefined) => tensor ? own(tensor).pointer : null;
    const addresses = inputNames.map((name) => {
      const tensor = inputs[name];
      return pointerOf(tensor && isPacked(tensor) ? tensor.parts.values : tensor);
    });
    addresses.push(...partPointers(inputs, (part) => own(part).pointer), ...router.map(pointerOf), output.pointer);
    if (tokens > 0) {
      const prepared = plan();
      using workspace = new DisposableStack();
      for (const bytes of prepared.buffers) addresses.push(workspace.use(allocateBytes(bytes)).pointer);
      this.#queue(prepared, addresses);
    }
    cleanup.move();
    return output;
  }

  /** Queues the kernels of a plan: one by one in a captured function, or else as a graph if the call is repeated. */
  #queue(plan: PreparedPlan, addresses: Addresses): void {
    const { stream, captures: { recording } } = this.#host;
    if (recording) {
      for (const kernel of plan.kernels) recording.queue(kernel, () => kernel.launch(stream, addresses));
    } else {
      const launch = () => plan.launch(stream, addresses);
      this.#graphs.run(plan, addresses, launch, () => stream.capture(launch));
    }
  }

  /** Destroys all graphs. */
  [Symbol.dispose](): void {
    this.#graphs[Symbol.dispose]();
  }
}
