import { assert, assertEquals, assertRejects } from "@std/assert";
import { tensor, zeros } from "../../mod.ts";
import type { CudaBackend } from "../../src/cuda/backend.ts";
import type { Control } from "../emulator/control.ts";
import { toolkit } from "../toolkit.ts";
import { emulated, openEmulated } from "./emulated.ts";

function test(name: string, fn: (backend: CudaBackend, control: Control) => Promise<void>): void {
  Deno.test({
    name: `cuda transfers, ${emulated}: ${name}`,
    ignore: !toolkit,
    fn: async () => {
      const { backend: opened, control } = await openEmulated(80);
      {
        using backend = opened;
        await fn(backend, control);
      }
      assertEquals(control.live, "");
    },
  });
}

const numbers = tensor(new Float32Array([1, 2, 3, 4]));

test("a transfer inside the callback of another works at once", async (backend) => {
  using source = backend.upload(numbers);
  using target = backend.upload(zeros("f32", [4]));
  using other = backend.upload(zeros("f32", [4]));
  await backend.fill(target, async (piece) => {
    const { data } = await backend.download(source);
    piece.set(data);
    await backend.fill(other, async (inner) => {
      await backend.read(source, (read) => inner.set(read));
    });
  });
  assertEquals((await backend.download(target)).data, numbers.data);
  assertEquals((await backend.download(other)).data, numbers.data);
  await backend.read(source, async (piece) => {
    using copy = backend.upload(zeros("f32", [4]));
    await backend.fill(copy, (inner) => inner.set(piece));
    assertEquals((await backend.download(copy)).data, numbers.data);
  });
});

test("transfers that begin together take turns", async (backend) => {
  using source = backend.upload(numbers);
  const log: string[] = [];
  const read = (name: string) =>
    backend.read(source, async () => {
      log.push(`${name} begins`);
      await new Promise((resolve) => setTimeout(resolve, 1));
      log.push(`${name} ends`);
    });
  await Promise.all([read("first"), read("second")]);
  assertEquals(log, ["first begins", "first ends", "second begins", "second ends"]);
});

test("a callback that throws rejects its transfer and no other", async (backend) => {
  using source = backend.upload(numbers);
  const fail = () => {
    throw new Error("no more");
  };
  const failing = [backend.read(source, fail), backend.fill(source, fail)];
  const download = backend.download(source);
  for (const transfer of failing) await assertRejects(() => transfer, Error, "no more");
  assertEquals((await download).data, numbers.data);
  await assertRejects(() => backend.fill(source, () => backend.read(source, fail)), Error, "no more");
  assertEquals((await backend.download(source)).data, numbers.data);
});

test("a transfer keeps a tensor that its callback disposes", async (backend) => {
  const target = backend.upload(zeros("f32", [4]));
  await backend.fill(target, () => target[Symbol.dispose]());
  assertEquals(backend.memory.liveBytes, 0);
  const source = backend.upload(numbers);
  const seen: number[] = [];
  await backend.read(source, (piece) => {
    source[Symbol.dispose]();
    seen.push(...piece);
  });
  assertEquals([seen, backend.memory.liveBytes], [[1, 2, 3, 4], 0]);
  await assertRejects(() => backend.download(source), TypeError, "is disposed");
});

test(
  "if the staging memory or one of its events cannot be made, the next transfer makes it",
  async (backend, control) => {
    using target = backend.upload(zeros("f32", [4]));
    const registered = () => Number(/registered host memory (\d+)/.exec(control.live)?.[1] ?? 0);
    const before = registered();
    const failed: string[] = [];
    for (let call = 1;; call++) {
      control.fail(call, 2);
      await backend.fill(target, (piece) => void piece.fill(1)).catch(() => {});
      const api = control.failedCall;
      control.fail(0, 0);
      if (!api) break; // the transfer has fewer calls
      failed.push(api);
    }
    for (const api of ["cuMemHostRegister_v2", "cuEventCreate"]) assert(failed.includes(api), api);
    assertEquals(registered() - before, 1);
    assertEquals((await backend.download(target)).data, new Float32Array(4).fill(1));
  },
);
