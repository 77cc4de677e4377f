// Runs jobs with partial tiles in every dimension on every tile shape. All shapes must give the same bits. `gpu:check` runs this
// file directly and under compute-sanitizer.
import { assertEquals } from "@std/assert";
import { openCudaBackend } from "../../src/cuda/backend.ts";
import { hopperTiles, tensorTiles } from "../../src/cuda/plan/tiles.ts";
import type { ExpertsOptions } from "../../src/contract/experts.ts";
import { experts } from "../../src/ops/experts.ts";
import { randomInputs } from "../random_inputs.ts";

const jobs: { dtype: "f16" | "bf16"; options: ExpertsOptions }[] = [];
for (const dtype of ["f16", "bf16"] as const) {
  for (const weightLayout of ["in-out", "out-in"] as const) {
    for (const gateUpLayout of ["interleaved", "concatenated"] as const) {
      jobs.push({ dtype, options: { weightLayout, gateUpLayout, activation: "swiglu-oai", expertCapacity: 200 } });
    }
    jobs.push({ dtype, options: { weightLayout, activation: "gelu" } });
  }
}
const sizes = [{ T: 330, H: 200, I: 104, E: 2, K: 2 }, { T: 150, H: 72, I: 264, E: 3, K: 1 }];

const rowsOfTiles = [...new Set([...tensorTiles(90), ...hopperTiles()].map(({ rows }) => rows))];
let compared = 0;
const expected = new Map<string, Awaited<ReturnType<typeof experts>>>();
for (const tileRows of rowsOfTiles) {
  using backend = await openCudaBackend({ tileRows });
  for (const [i, { dtype, options }] of jobs.entries()) {
    const size = sizes[i % 2]!;
    const extra = i % 4 === 3 ? "input weights" : "none";
    const inputs = randomInputs(size, i, { dtype, bias: i % 3 > 0, extra, ...options });
    const output = await experts(inputs, { ...options, backend });
    const key = JSON.stringify({ dtype, ...options, ...size });
    const first = expected.get(key);
    if (first) {
      assertEquals(
        output.data,
        first.data,
        `tiles of ${tileRows} rows differ from tiles of ${rowsOfTiles[0]} rows: ${key}`,
      );
      compared += 1;
    } else expected.set(key, output);
  }
}
console.log(`${compared} results of ${rowsOfTiles.length} tile shapes have the same bits`);
