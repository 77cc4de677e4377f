import { assertEquals } from "@std/assert";
import { CpuBackend } from "../../src/cpu/backend.ts";
import { mapInputs } from "../../src/contract/experts_inputs.ts";
import { tensor, type TensorData, zeros } from "../../src/tensor/tensor.ts";
import { toBfloat16 } from "../../src/tensor/bfloat16.ts";
import { WorkerPool } from "../../src/wasm/worker_pool.ts";

// Two passes over the depth, a depth that is no multiple of four, and columns that fill neither a group nor four groups.
const hidden = 405, intermediate = 75, maximum = 17;

/** Values with zeros and f16 subnormals among them. */
function fill(data: TensorData): void {
  const values = Float32Array.from({ length: data.length }, (_, i) => {
    const x = Math.sin(i * 12.9898) * 43758.5453;
    const fraction = x - Math.floor(x) - 0.5;
    return i % 97 === 0 ? 0 : i % 89 === 0 ? fraction * 2 ** -15 : fraction / 8;
  });
  if (data instanceof Uint16Array) toBfloat16(values, data);
  else data.set(values);
}

for (const dtype of ["f16", "bf16", "f32"] as const) {
  for (const weightLayout of ["in-out", "out-in"] as const) {
    for (const gateUpLayout of ["interleaved", "concatenated"] as const) {
      Deno.test(`A row has the same bits among 1 to ${maximum} rows of an expert: ${dtype}, ${weightLayout}, ${gateUpLayout}`, async () => {
        using pool = new WorkerPool(2);
        using backend = new CpuBackend({ pool, blas: "none" });
        const isTransposed = weightLayout === "out-in";
        const make = (shape: readonly number[]) => {
          const values = zeros(dtype, shape);
          fill(values.data);
          return values;
        };
        const all = {
          hiddenStates: make([maximum, hidden]),
          routingWeights: make([maximum, 1]),
          gateUpProj: make(isTransposed ? [1, 2 * intermediate, hidden] : [1, hidden, 2 * intermediate]),
          gateUpProjBias: make([1, 2 * intermediate]),
          downProj: make(isTransposed ? [1, hidden, intermediate] : [1, intermediate, hidden]),
          downProjBias: make([1, hidden]),
        };
        const run = async (rows: number) => {
          using scope = new DisposableStack();
          const first = (width: number, { data }: { readonly data: TensorData }) => ({
            dtype,
            shape: [rows, width],
            data: data.slice(0, rows * width),
          });
          const inputs = {
            ...all,
            hiddenStates: first(hidden, all.hiddenStates),
            routingWeights: first(1, all.routingWeights),
            routerIndices: tensor(new Int32Array(rows), [rows, 1]),
          };
          const device = mapInputs(inputs, (host) => scope.use(backend.upload(host)));
          const output = scope.use(await backend.experts(device, { weightLayout, gateUpLayout }));
          return [...(await backend.download(output)).data];
        };
        const expected = await run(maximum);
        for (let rows = 1; rows < maximum; rows++) {
          assertEquals(await run(rows), expected.slice(0, rows * hidden), `${rows} rows`);
        }
      });
    }
  }
}
