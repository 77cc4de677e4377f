// Runs the suite of all backends on an emulated Hopper: with wgmma, and, for few rows and sizes that are not multiples of 8,
// without. Then it tests each of Hopper's own kernels by itself, because the suite
// uses only tiles of 256 rows.
import { assert, assertEquals } from "@std/assert";
import { experts } from "../../mod.ts";
import { allVariants, testBackend } from "../backend_suite.ts";
import { checkAgainstNaive, infiniteInputs, randomInputs, uploadUnknownExperts } from "../random_inputs.ts";
import { toolkit } from "../toolkit.ts";
import { emulated, openEmulated } from "./emulated.ts";

for (const [rows, multiple, dtypes] of [[256, 8, ["f16", "bf16"]], [64, 1, ["f16", "f32"]]] as const) {
  const title = `cuda, ${emulated}, sm_90, tiles of ${rows} rows`;
  const variants = { ...allVariants, dtypes };
  const open = async () => (await openEmulated(90, rows)).backend;
  testBackend(title, open, { ignore: !toolkit, multiple, runs: 20, variants });
}

// The results must have the bits of the kernels for few rows, which are compared with the naive model. With these sizes the last
// tile along the columns of both products is almost empty, so that the second warpgroup that multiplies has no columns in the
// second product of one case and in both products of the other; and so is the last step. `ragged` is the part of the last tile
// along the rows that has rows.
const sizes = [{ H: 40, I: 104, ragged: 0.2 }, { H: 200, I: 40, ragged: 0.6 }];
const layouts = [
  { weightLayout: "in-out", gateUpLayout: "interleaved", gated: "in_out", plain: "in_out" },
  { weightLayout: "in-out", gateUpLayout: "concatenated", gated: "in_out_split", plain: "in_out" },
  { weightLayout: "out-in", gateUpLayout: "interleaved", gated: "out_in", plain: "out_in" },
  { weightLayout: "out-in", gateUpLayout: "concatenated", gated: "out_in", plain: "out_in" },
] as const;

for (const [tile, rows] of [["wgmma", 192], ["stream32", 32]] as const) {
  for (const dtype of ["f16", "bf16"] as const) {
    for (const { gated, plain, ...options } of layouts) {
      const streams = tile === "stream32"; // the kernel of both products, which also sorts
      const kernels = streams
        ? [`${tile}_${dtype}_${gated}`]
        : [`gated_${tile}_${dtype}_${gated}`, `plain_${tile}_${dtype}_${plain}`];
      Deno.test({
        name: `cuda, ${emulated}, sm_90: ${kernels.join(" and ")} with ragged tiles, ${options.gateUpLayout}`,
        ignore: !toolkit,
        fn: async () => {
          const { backend, control } = await openEmulated(90, rows);
          using own = backend;
          using general = (await openEmulated(90, 64)).backend;
          const launches = () => [...kernels, "sort_small"].map((kernel) => control.counters(kernel).launches);
          for (const [seed, { ragged, ...size }] of sizes.entries()) {
            const T = rows + Math.ceil(rows * ragged);
            for (const bias of [true, false]) {
              const inputs = randomInputs({ T, E: 2, K: 2, ...size }, seed, { dtype, bias, ...options });
              for (const expertCapacity of streams ? [undefined, T - 3] : [undefined]) {
                const all = { ...options, expertCapacity };
                await checkAgainstNaive(general, inputs, all);
                const expected = (await experts(inputs, { ...all, backend: general })).data;
                const before = launches();
                const { data } = await experts(inputs, { ...all, backend: own });
                assertEquals(data, expected, Deno.inspect({ ...size, T, bias, expertCapacity }));
                const added = streams ? [2, 0] : [1, 1, 1];
                assertEquals(launches(), before.map((count, i) => count + added[i]!));
              }
            }
          }
        },
      });
    }
  }
}

for (const { gated, plain, ...options } of layouts.filter(({ gateUpLayout }) => gateUpLayout === "interleaved")) {
  Deno.test({
    name: `cuda, ${emulated}, sm_90: gated_wgmma_bf16_${gated} and plain_wgmma_bf16_${plain} with each width`,
    ignore: !toolkit,
    fn: async () => {
      using own = (await openEmulated(90, 192)).backend;
      using general = (await openEmulated(90, 64)).backend;
      for (const T of [9, 33, 95, 128, 129, 145, 161, 192, 193, 385]) {
        const extra = T % 2 ? "input weights" : "none";
        const inputs = randomInputs({ T, E: 1, K: 1, H: 72, I: 40 }, T, {
          dtype: "bf16",
          bias: true,
          extra,
          ...options,
        });
        const expected = (await experts(inputs, { ...options, backend: general })).data;
        assertEquals((await experts(inputs, { ...options, backend: own })).data, expected, `${T} rows`);
      }
    },
  });
}

Deno.test({
  name:
    `cuda, ${emulated}, sm_90: a block takes more tiles by tickets than it has slots for tickets, with the same bits`,
  ignore: !toolkit,
  fn: async () => {
    const { backend, control } = await openEmulated(90, 192);
    using own = backend;
    using general = (await openEmulated(90, 64)).backend;
    const options = { weightLayout: "out-in", gateUpLayout: "concatenated" } as const;
    const inputs = randomInputs({ T: 140, E: 8, K: 8, H: 64, I: 40 }, 5, { dtype: "bf16", ...options });
    const expected = (await experts(inputs, { ...options, backend: general })).data;
    control.schedule(7, 200);
    const kernel = "plain_wgmma_bf16_out_in", { launches } = control.counters(kernel);
    for (let i = 0; i < 2; i++) assertEquals((await experts(inputs, { ...options, backend: own })).data, expected);
    assertEquals(control.counters(kernel).launches, launches + 2);
    control.schedule(0);
  },
});

Deno.test({
  name:
    `cuda, ${emulated}, sm_90: one launch multiplies by both weights if they have many bytes and long columns, with the same ` +
    "bits, also with several tiles of rows",
  ignore: !toolkit,
  fn: async () => {
    const { backend, control } = await openEmulated(90, 32);
    using own = backend;
    using general = (await openEmulated(90, 64)).backend;
    const kernel = "stream32_f16_out_in";
    const options = { weightLayout: "out-in", gateUpLayout: "concatenated" } as const;
    const inputs = randomInputs({ T: 40, E: 1, K: 1, H: 1032, I: 1032 }, 7, { dtype: "f16", ...options });
    const expected = (await experts(inputs, { ...options, backend: general })).data;
    const { launches } = control.counters(kernel);
    control.schedule(3, 500);
    assertEquals((await experts(inputs, { ...options, backend: own })).data, expected);
    assertEquals(control.counters(kernel).launches, launches + 1);
    control.schedule(0);
  },
});

Deno.test({
  name: `cuda, ${emulated}, sm_90: stream32_f16_in_out with more assignments than it sorts itself, with the same bits`,
  ignore: !toolkit,
  fn: async () => {
    const { backend, control } = await openEmulated(90, 32);
    using own = backend;
    using general = (await openEmulated(90, 64)).backend;
    const inputs = randomInputs({ T: 260, E: 3, K: 2, H: 40, I: 72 }, 3, { dtype: "f16" });
    const expected = (await experts(inputs, { backend: general })).data;
    const launches = () => ["stream32_f16_in_out", "sort_small"].map((name) => control.counters(name).launches);
    const before = launches();
    assertEquals((await experts(inputs, { backend: own })).data, expected);
    assertEquals(launches(), before.map((count, i) => count + [2, 1][i]!));
  },
});

Deno.test({
  name:
    `cuda, ${emulated}, sm_90: an infinite input in the last column has the same effect as without Hopper's kernels`,
  ignore: !toolkit,
  fn: async () => {
    using general = (await openEmulated(90, 64)).backend;
    for (const H of [24, 40]) {
      const inputs = infiniteInputs({ T: 65, E: 1, K: 1, H, I: 64 }, 1);
      const expected = (await experts(inputs, { backend: general })).data;
      assert(expected.every(Number.isFinite));
      for (const rows of [32, 192]) {
        using own = (await openEmulated(90, rows)).backend;
        assertEquals((await experts(inputs, { backend: own })).data, expected, `${rows} ${H}`);
      }
    }
  },
});

Deno.test({
  name: `cuda, ${emulated}, sm_90: stream32_f16_in_out drops assignments to unknown experts, with the same bits`,
  ignore: !toolkit,
  fn: async () => {
    for (const T of [20, 520]) {
      const outputs = await Promise.all([32, 64].map(async (rows) => {
        using own = (await openEmulated(90, rows)).backend;
        using scope = new DisposableStack();
        const inputs = uploadUnknownExperts(own, scope, { T, H: 24, I: 40, E: 2, K: 1 }, 1);
        return (await own.download(scope.use(await own.experts(inputs)))).data;
      }));
      assertEquals(outputs[0], outputs[1]);
      assertEquals(outputs[0]!.subarray(24, 24 * 5), new Float16Array(4 * 24));
    }
  },
});

Deno.test({
  name: `cuda, ${emulated}, sm_90: whole units of rows, and one row more, have the bits of the general kernels`,
  ignore: !toolkit,
  fn: async () => {
    using general = (await openEmulated(90, 64)).backend;
    using own = (await openEmulated(90, 192)).backend;
    for (const T of [64, 65, 192, 193, 384]) {
      // The second product has more steps than stages, and no columns for the second warpgroup.
      const inputs = randomInputs({ T, E: 1, K: 1, H: 24, I: 328 }, T);
      const expected = (await experts(inputs, { backend: general })).data;
      assertEquals((await experts(inputs, { backend: own })).data, expected, `${T}`);
    }
  },
});
