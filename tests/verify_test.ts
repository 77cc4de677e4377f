import { assert, assertEquals } from "@std/assert";
import { type Backend, type ExpertsOptions, openBackend, type TensorData } from "../mod.ts";
import { runMoe } from "../src/backend/run_moe.ts";
import { goldensFile, goldensModule } from "./build_goldens.ts";
import { type BackendSteps, resolvedOps } from "../src/backend/steps.ts";
import { activationOptions } from "../src/contract/activations.ts";
import { resolveMoe } from "../src/contract/resolve_moe.ts";
import { layerChecks } from "../src/verify/layers.ts";
import { packedChecks } from "../src/verify/packed.ts";
import { isPacked, packedKinds } from "../src/tensor/packed_tensor.ts";
import { variantChecks } from "../src/verify/variants.ts";
import { type Check, jobChecks, verify } from "../src/verify/verify.ts";
import { WorkerPool } from "../src/wasm/worker_pool.ts";
import { makeJob } from "../src/workload/workload.ts";

const job = makeJob("tiny", { batch: 1, seq: 16, hidden: 64, experts: 4 });

type Changes = (backend: Backend) => Partial<Pick<Backend, "experts" | "ops" | "steps" | "supports">>;
type Checks = (backend: Backend, engine: WorkerPool) => AsyncIterable<Check>;

/** Returns the names of the checks that fail on a backend with some changed functions. */
async function failuresOf(checks: Checks, changes: Changes): Promise<string[]> {
  using engine = new WorkerPool(1);
  using cpu = await openBackend("cpu", { pool: engine });
  const changed: Partial<Backend> = changes(cpu);
  const changedBackend: Backend = new Proxy(cpu, {
    get(target, name) {
      if (name === "moe") {
        return (...[hidden, layer, options]: Parameters<Backend["moe"]>) =>
          runMoe(changedBackend, { hidden, layer, shape: resolveMoe(hidden, layer, options), onProgress: undefined });
      }
      if (name === "runExperts" && changed.experts) {
        return ({ inputs, shape }: Parameters<Backend["runExperts"]>[0]) => {
          const { activation, gated, gateUpLayout, weightLayout, batchInvariant, capacity } = shape;
          const options = {
            activation,
            ...activationOptions(shape),
            gated,
            gateUpLayout,
            weightLayout,
            batchInvariant,
          };
          return changedBackend.experts(inputs, { ...options, expertCapacity: capacity });
        };
      }
      const value = Reflect.get(name in changed ? changed : target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  const found = await Array.fromAsync(checks(changedBackend, engine));
  return found.filter(({ passed }) => !passed).map(({ name }) => name);
}

/** Returns the names of the job's checks that fail on a backend that changes its output. */
async function failures(change: (output: TensorData, run: number) => void): Promise<string[]> {
  let runs = 0;
  const ofJob: Checks = (backend, engine) => jobChecks(backend, engine, { job, samples: 16, runs: 3 });
  const failed = await failuresOf(ofJob, (cpu) => ({
    async experts(...args: Parameters<Backend["experts"]>) {
      const output = await cpu.experts(...args);
      if (output.shape.join() === "16,64") await cpu.fill(output, (data) => change(data, runs++));
      return output;
    },
  }));
  assertEquals(runs, 3);
  return failed;
}

/** Changes the options of `experts`. */
function withOptions(change: (options: ExpertsOptions) => ExpertsOptions): Changes {
  return (cpu) => ({ experts: (inputs, options = {}) => cpu.experts(inputs, change(options)) });
}

/** Changes the calls of the router. */
function withRoute(change: (call: RouteCall) => RouteCall): Changes {
  return (cpu) => {
    const steps = new Proxy(cpu.steps, {
      get(target, name) {
        if (name === "route") return (call: RouteCall) => target.route(change(call));
        const value = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    return { steps, ops: resolvedOps(steps) };
  };
}

type RouteCall = Parameters<BackendSteps["route"]>[0];

Deno.test("src/verify/goldens.ts is what tests/build_goldens.ts generates", async () => {
  assertEquals(await Deno.readTextFile(goldensFile), goldensModule());
});

Deno.test("verify() passes on a correct backend", async () => {
  const all: Checks = (backend, engine) => verify(backend, engine, { job, samples: 16, runs: 3 });
  assertEquals(await failuresOf(all, () => ({})), []);
});

Deno.test("verify() fails if results are wrong, NaN, or differ between runs", async () => {
  const sampled = `16 tokens of the ${job.preset} job`;
  assertEquals(await failures(() => {}), []);
  assertEquals(await failures((output) => output.fill(0, 0, 64)), [sampled]);
  assertEquals(await failures((output) => output[70] = NaN), [sampled]);
  assertEquals(await failures((output, run) => output[3]! += run === 1 ? 1 : 0), ["the same bits in 3 runs"]);
});

/** Asserts that `others` includes each of the names. */
function assertAmong(names: readonly string[], others: readonly string[]): void {
  for (const name of names) assert(others.includes(name), `${name} is not among ${others.join(", ")}`);
}

const floats = ["f16", "bf16", "f32"];
const of = (...names: string[]) => floats.flatMap((dtype) => names.map((name) => `${dtype} ${name}`));

Deno.test("verify() names the failing check if an activation, a layout, a capacity or an addend is ignored", async () => {
  const relu = withOptions((options) => options.activation === "relu2" ? { ...options, activation: "silu" } : options);
  assertEquals(await failuresOf(variantChecks, relu), of("relu2"));

  const unlimited = withOptions(({ activationLimit: _limit, ...options }) => options);
  assertEquals(
    await failuresOf(variantChecks, unlimited),
    floats.flatMap((dtype) => [`${dtype} swiglu-oai`, `${dtype} silu`]),
  );

  const flipped = withOptions((options) =>
    options.gateUpLayout === "concatenated" ? { ...options, gateUpLayout: "interleaved" } : options
  );
  const laidOut = ["swiglu-oai", "silu", "gelu", "gelu-tanh", "relu", "relu2", "few rows", "unaligned sizes"];
  assertEquals(await failuresOf(variantChecks, flipped), of(...laidOut));

  const full = withOptions(({ expertCapacity: _capacity, ...options }) => options);
  assertAmong(of("capacity, dense weights"), await failuresOf(variantChecks, full));

  const alone: Changes = (cpu) => ({
    experts: ({ addend: _addend, addendWeights: _weights, ...inputs }, options) => cpu.experts(inputs, options),
  });
  assertEquals(await failuresOf(variantChecks, alone), of("addend, batch-invariant"));
  assertEquals(await failuresOf(layerChecks, alone), of("whole layers", "scaled inputs"));
});

Deno.test("verify() names each packed format whose results are not those of decoded weights", async () => {
  const unpaired: Changes = (cpu) => ({
    experts: (inputs, options) =>
      cpu.experts(inputs, isPacked(inputs.gateUpProj) ? { ...options, gateUpLayout: "interleaved" } : options),
  });
  const names = packedKinds.map((kind) => `${kind} weights have the bits of decoded ones`);
  assertEquals(await failuresOf(packedChecks, unpaired), of(...names));
  assertEquals(await failuresOf(packedChecks, () => ({ supports: () => false })), []);
});

Deno.test("verify() fails if the weights or the choice of a router are wrong", async () => {
  const unscaled = withRoute((call) => ({ ...call, router: { ...call.router, scale: 1 } }));
  assertAmong(
    ["router softmax", "router sqrt-softplus", ...of("whole layers")],
    await failuresOf(layerChecks, unscaled),
  );

  const blind = withRoute((call) => ({
    ...call,
    correctionBias: undefined,
    router: { ...call.router, biased: false },
  }));
  assertEquals(await failuresOf(layerChecks, blind), [
    ...["router sigmoid-grouped", "router sigmoid", "router sqrt-softplus"],
    ...of("whole layers"),
  ]);
});
