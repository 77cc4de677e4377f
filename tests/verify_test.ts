import { assert, assertEquals } from "@std/assert";
import { type Backend, type ExpertsOptions, openBackend, type TensorData } from "../mod.ts";
import { runMoe } from "../src/backend/run_moe.ts";
import { type BackendSteps, resolvedOps } from "../src/backend/steps.ts";
import { activationOptions } from "../src/contract/activations.ts";
import { resolveMoe } from "../src/contract/resolve_moe.ts";
import { layerChecks } from "../src/verify/layers.ts";
import { variantChecks } from "../src/verify/variants.ts";
import { type Check, jobChecks, verify } from "../src/verify/verify.ts";
import { WorkerPool } from "../src/wasm/worker_pool.ts";
import { makeJob } from "../src/workload/workload.ts";

const job = makeJob("tiny", { batch: 1, seq: 16, hidden: 64, experts: 4 });

type Changes = (backend: Backend) => Partial<Pick<Backend, "experts" | "ops" | "steps">>;
type Checks = (backend: Backend, engine: WorkerPool) => AsyncIterable<Check>;

/** The names of the checks that fail on a backend that does some things otherwise. */
async function failuresOf(checks: Checks, changes: Changes): Promise<string[]> {
  using engine = new WorkerPool(1);
  using cpu = await openBackend("cpu", { pool: engine });
  const changed: Partial<Backend> = changes(cpu);
  const spoilt: Backend = new Proxy(cpu, {
    get(target, name) {
      if (name === "moe") {
        return (...[hidden, layer, options]: Parameters<Backend["moe"]>) =>
          runMoe(spoilt, { hidden, layer, shape: resolveMoe(hidden, layer, options), onProgress: undefined });
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
          return spoilt.experts(inputs, { ...options, expertCapacity: capacity });
        };
      }
      const value = Reflect.get(name in changed ? changed : target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  const found = await Array.fromAsync(checks(spoilt, engine));
  return found.filter(({ passed }) => !passed).map(({ name }) => name);
}

/** The same of one that spoils its outputs of the job. */
async function failures(spoil: (output: TensorData, run: number) => void): Promise<string[]> {
  let runs = 0;
  const ofJob: Checks = (backend, engine) => jobChecks(backend, engine, { job, samples: 16, runs: 3 });
  const failed = await failuresOf(ofJob, (cpu) => ({
    async experts(...args: Parameters<Backend["experts"]>) {
      const output = await cpu.experts(...args);
      if (output.shape.join() === "16,64") await cpu.fill(output, (data) => spoil(data, runs++));
      return output;
    },
  }));
  assertEquals(runs, 3);
  return failed;
}

/** A backend that changes the options of `experts`. */
function withOptions(change: (options: ExpertsOptions) => ExpertsOptions): Changes {
  return (cpu) => ({ experts: (inputs, options = {}) => cpu.experts(inputs, change(options)) });
}

/** A backend with another router. */
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

Deno.test("verify() passes on a backend that is right", async () => {
  const all: Checks = (backend, engine) => verify(backend, engine, { job, samples: 16, runs: 3 });
  assertEquals(await failuresOf(all, () => ({})), []);
});

Deno.test("verify() fails where the results are off, are no numbers, or change from run to run", async () => {
  const sampled = "16 tokens of the custom job";
  assertEquals(await failures(() => {}), []);
  assertEquals(await failures((output) => output.fill(0, 0, 64)), [sampled]);
  assertEquals(await failures((output) => output[70] = NaN), [sampled]);
  assertEquals(await failures((output, run) => output[3]! += run === 1 ? 1 : 0), ["the same bits in 3 runs"]);
});

/** Checks that each of some names is among others. */
function assertAmong(names: readonly string[], others: readonly string[]): void {
  for (const name of names) assert(others.includes(name), `${name} is not among ${others.join(", ")}`);
}

const floats = ["f16", "bf16", "f32"];
const of = (...names: string[]) => floats.flatMap((dtype) => names.map((name) => `${dtype} ${name}`));

Deno.test("verify() fails, by name, where an activation, a layout, a capacity or a weight is another", async () => {
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
  const laidOut = ["swiglu-oai", "silu", "gelu", "gelu-tanh", "relu2", "few rows", "sizes of no multiple of 8"];
  assertEquals(await failuresOf(variantChecks, flipped), of(...laidOut));

  const full = withOptions(({ expertCapacity: _capacity, ...options }) => options);
  assertAmong(of("capacity, dense weights"), await failuresOf(variantChecks, full));

  const alone: Changes = (cpu) => ({
    experts: ({ addend: _addend, addendWeights: _weights, ...inputs }, options) => cpu.experts(inputs, options),
  });
  assertEquals(await failuresOf(variantChecks, alone), of("addend, batch-invariant"));
  assertEquals(await failuresOf(layerChecks, alone), of("whole layers", "scaled inputs"));
});

Deno.test("verify() fails where a router's weights or choice are off", async () => {
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
