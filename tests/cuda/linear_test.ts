import { assertEquals } from "@std/assert";
import { planLinear } from "../../src/cuda/plan/router.ts";
import { convert, tensor } from "../../src/tensor/tensor.ts";
import { Generator } from "../../src/torch/generator.ts";
import { manifest } from "../../src/cuda/images/built/manifest.ts";
import { TestDevice } from "../emulator/device.ts";
import { toolkit } from "../toolkit.ts";
import { buildProduct, emulated } from "./emulated.ts";

for (const [rows, depth, columns] of [[1, 8, 3], [17, 264, 9], [33, 2056, 70], [3, 2304, 8]] as const) {
  for (const dtype of ["f16", "bf16"] as const) {
    Deno.test({
      name:
        `cuda, ${emulated}: linear() of ${rows} x ${depth} and ${columns} columns in ${dtype} gives the same bits ` +
        "in small and large tiles",
      ignore: !toolkit,
      fn: async () => {
        const { library } = await buildProduct(80);
        using device = await TestDevice.ofProduct(library);
        const random = new Generator(rows);
        const upload = (...shape: number[]) => {
          const { data } = convert(tensor(random.randn(shape).data, shape), dtype);
          const bytes = Uint8Array.from(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
          const buffer = device.allocate(bytes.length);
          buffer.write(bytes);
          return { pointer: buffer.pointer, dtype };
        };
        const [input, weight, bias] = [upload(rows, depth), upload(columns, depth), upload(columns)];
        const { kernels } = manifest.images.sm_80!;
        const [large, small] = [0, 10_000].map((multiprocessors) => {
          const output = device.allocate(rows * columns * 4);
          const out = { pointer: output.pointer, dtype: "f32" } as const;
          const shape = { batch: 1, rows, depth, columns };
          const launch = planLinear(shape, input, weight, bias, out, kernels, multiprocessors);
          assertEquals(launch.arguments.smallTiles, Number(multiprocessors > 0));
          const { blocks, sharedBytes } = launch;
          device.launch(launch.kernel, launch.threads, launch.arguments, { blocks, sharedBytes });
          return device.download(output);
        });
        assertEquals(small, large);
      },
    });
  }
}
