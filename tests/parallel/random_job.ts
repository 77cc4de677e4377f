// A random job for several ranks. Every rank makes the same one from the seed.
import type { ExpertsInputs, ExpertsOptions } from "../../src/contract/experts.ts";
import { int4 } from "../packed_inputs.ts";
import { extras, randomInputs } from "../random_inputs.ts";
import { SmallRandom } from "../small_random.ts";

/** The inputs of all ranks, and how the ranks share them. */
export interface RandomJob {
  readonly inputs: ExpertsInputs;
  readonly options: ExpertsOptions;
  /** The number of experts. */
  readonly experts: number;
  /** The number of tokens of each rank. */
  readonly tokensPerRank: readonly number[];
}

/** Makes a job. With `even`, all ranks have the same number of tokens. */
export function randomJob(
  seed: number,
  ranks: number,
  { even }: { readonly even: boolean },
): RandomJob {
  const random = new SmallRandom(seed);
  const below = (limit: number) => Math.floor(random.next() * limit);
  const choose = <T>(choices: readonly T[]) => choices[below(choices.length)] as T;
  const same = below(9);
  const tokensPerRank = Array.from({ length: ranks }, () => even ? same : choose([0, 1, below(7), below(20)]));
  const E = ranks + below(8), K = 1 + below(4);
  const dtype = choose(["f16", "bf16", "f32"] as const);
  const extra = choose(extras);
  const dense = extra !== "input weights" && below(4) === 0 && K !== E;
  const gated = below(5) > 0, weightLayout = choose(["in-out", "out-in"] as const);
  const packs = weightLayout === "out-in" && below(4) === 0, unit = packs ? 32 : 8;
  const shape = {
    T: tokensPerRank.reduce((sum, n) => sum + n, 0),
    ...{ H: unit * (1 + below(6)), I: unit * (1 + below(5)), E, K },
  };
  const inputs = randomInputs(shape, seed, {
    ...{ dtype, dense, gated, weightLayout, extra },
    bias: choose([true, false, "gate-up", "down"] as const),
    spread: choose([0, 0.3, 1, 1]),
  });
  const rows = gated ? 2 * shape.I : shape.I;
  const weights = packs
    ? {
      gateUpProj: int4.make(random, [E, rows, shape.H], 0.1),
      downProj: int4.make(random, [E, shape.H, shape.I], 0.1),
    }
    : {};
  return {
    inputs: Object.fromEntries(
      Object.entries({ ...inputs, ...weights }).filter(([, value]) => value !== undefined),
    ) as unknown as ExpertsInputs,
    options: {
      ...{
        gated,
        weightLayout,
        activation: gated ? choose(["swiglu-oai", "silu", "gelu"] as const) : choose(["relu", "relu2"] as const),
      },
      gateUpLayout: choose(["interleaved", "concatenated"] as const),
      expertCapacity: choose([undefined, undefined, 1, 1 + below(9)]),
    },
    experts: E,
    tokensPerRank,
  };
}
