// The golden tensors of fixtures/, made with PyTorch 1.13.1 on a CPU.
import { assert } from "@std/assert";
import type { DenseInputs } from "../src/contract/experts.ts";
import { headerLength, lengthBytes, parseHeader } from "../src/safetensors/header.ts";
import { type Tensor, tensor } from "../src/tensor/tensor.ts";

/** A tensor as stored; the 64-bit types have no place in the product. */
export interface Stored {
  readonly shape: readonly number[];
  readonly data: Float16Array | Float32Array | Float64Array | BigInt64Array;
}

const arrays = { F16: Float16Array, F32: Float32Array, F64: Float64Array, I64: BigInt64Array };
const isArrayType = (dtype: string): dtype is keyof typeof arrays => dtype in arrays;

/** A safetensors file: its tensors by name and its metadata. */
export class Fixture {
  readonly metadata: Readonly<Record<string, string>>;
  readonly #tensors = new Map<string, Stored>();

  constructor(name: string) {
    const file = Deno.readFileSync(new URL(`../fixtures/${name}.safetensors`, import.meta.url));
    const start = lengthBytes + headerLength(file, file.length);
    const { tensors, metadata } = parseHeader(file.subarray(lengthBytes, start), file.length - start);
    this.metadata = Object.fromEntries(metadata);
    for (const { name, dtype, shape, offset, byteLength } of tensors.values()) {
      assert(isArrayType(dtype), `no array for ${dtype}`);
      const { buffer } = file.slice(start + offset, start + offset + byteLength);
      this.#tensors.set(name, { shape, data: new arrays[dtype](buffer) });
    }
  }

  get names(): string[] {
    return [...this.#tensors.keys()];
  }

  get(name: string): Stored {
    const stored = this.#tensors.get(name);
    assert(stored, `no tensor ${name} in the fixture`);
    return stored;
  }

  f16(name: string): Tensor {
    const { data, shape } = this.get(name);
    assert(data instanceof Float16Array);
    return tensor(data, shape);
  }

  f32(name: string): Tensor {
    const { data, shape } = this.get(name);
    assert(data instanceof Float32Array);
    return tensor(data, shape);
  }

  i32(name: string): Tensor {
    const { data, shape } = this.get(name);
    assert(data instanceof BigInt64Array);
    return tensor(Int32Array.from(data, Number), shape);
  }

  f64(name: string): Float64Array {
    const { data } = this.get(name);
    assert(data instanceof Float64Array);
    return data;
  }
}

/** The jobs: each a layer's inputs and what it gives. */
export const jobNames = ["tiny", "drop-bias", "clamp", "gpt-oss-like", "skewed"] as const;

/** The op's inputs in a job fixture. */
export function expertsInputs(fixture: Fixture, weights: "top-k" | "dense" = "top-k"): DenseInputs {
  return {
    hiddenStates: fixture.f16("hidden_states"),
    routerIndices: fixture.i32("router_indices"),
    routingWeights: fixture.f16(weights === "dense" ? "routing_weights" : "router_weights"),
    gateUpProj: fixture.f16("gate_up_proj"),
    gateUpProjBias: fixture.f16("gate_up_proj_bias"),
    downProj: fixture.f16("down_proj"),
    downProjBias: fixture.f16("down_proj_bias"),
  };
}

/** ‖actual − expected‖ / ‖expected‖; NaN if anything is NaN. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  assert(actual.length === expected.length, `${actual.length} values, ${expected.length} expected`);
  let error = 0, norm = 0;
  for (let i = 0; i < expected.length; i++) {
    error += (actual[i]! - expected[i]!) ** 2;
    norm += expected[i]! ** 2;
  }
  return norm === 0 ? Math.sqrt(error) : Math.sqrt(error / norm);
}
