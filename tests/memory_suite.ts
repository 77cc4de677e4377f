// Tests of the memory and the transfers of a backend.
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { type Backend, type BackendTensor, CudaError, type DType, type Tensor, zeros } from "../mod.ts";
import type { BackendTest } from "./backend_case.ts";

/** Registers the tests. */
export function testMemory(test: BackendTest, open: () => Promise<Backend>): void {
  test("memory counts live bytes and their peak", async (backend) => {
    const a = backend.allocate("f16", [100, 10]);
    assertEquals(backend.memory.liveBytes, 2000);
    const b = backend.allocate("i32", [10]);
    a[Symbol.dispose]();
    a[Symbol.dispose]();
    assertEquals(backend.memory.liveBytes, 40);
    assertEquals(backend.memory.peakBytes, 2040);
    backend.resetPeakMemory();
    assertEquals(backend.memory.peakBytes, 40);
    b[Symbol.dispose]();
    await backend.synchronize();
  });

  test("fill() and read() visit all elements once, in order", async (backend) => {
    const values = 100_000;
    using target = backend.allocate("i32", [values]);
    let filled = 0;
    await backend.fill(target, (piece, start) => {
      assertEquals(start, filled);
      for (let i = 0; i < piece.length; i++) piece[i] = start + i;
      filled += piece.length;
    });
    assertEquals(filled, values);
    let read = 0;
    await backend.read(target, (piece, start) => {
      assertEquals(start, read);
      assert(piece.every((value, i) => value === start + i));
      read += piece.length;
    });
    assertEquals(read, values);
    assertEquals((await backend.download(target)).data.at(-1), values - 1);
  });

  test("concurrent transfers do not disturb each other", async (backend) => {
    using scope = new DisposableStack();
    const tensors = await Promise.all([1, 2, 3].map(async (factor) => {
      const tensor = scope.use(backend.allocate("i32", [50_000]));
      await backend.fill(tensor, async (piece, start) => {
        for (let i = 0; i < piece.length; i++) piece[i] = (start + i) * factor;
        await Promise.resolve();
      });
      return tensor;
    }));
    const copies = await Promise.all(tensors.map((tensor) => backend.download(tensor)));
    for (const [k, { data }] of copies.entries()) assert(data.every((value, i) => value === i * (k + 1)));
  });

  test("a disposed tensor and one of another backend are rejected", async (backend) => {
    using other = await open();
    const gone = backend.upload(zeros("f16", [2, 2]));
    gone[Symbol.dispose]();
    await assertRejects(async () => await backend.download(gone), TypeError, "disposed");
    using foreign = other.upload(zeros("f16", [2, 2]));
    await assertRejects(async () => await backend.download(foreign), TypeError, "another backend");
    const host = zeros("f16", [2, 2]) as unknown as BackendTensor;
    const message = "Cannot use a tensor of the host: copy it to the backend with upload()";
    await assertRejects(async () => await backend.download(host), TypeError, message);
    const missing = undefined as unknown as BackendTensor;
    await assertRejects(async () => await backend.download(missing), TypeError, "expected a tensor of the backend");
  });

  test("upload() rejects a tensor whose data does not match its shape", (backend) => {
    const data = new Float16Array(new SharedArrayBuffer(8));
    assertThrows(() => backend.upload({ dtype: "f16", shape: [3], data }), RangeError, "tensor of shape [3] must hold");
    assertThrows(() => backend.upload(undefined as unknown as Tensor), TypeError, "tensor must be a tensor");
    return Promise.resolve();
  });

  test("allocate() refuses an unknown dtype, and a disposed backend", async (backend) => {
    const message = 'dtype must be one of f16, bf16, f32, i32, u8, got "f64"';
    assertThrows(() => backend.allocate("f64" as DType, [1]), TypeError, message);
    const closed = await open();
    closed[Symbol.dispose]();
    const closedMessage = "Cannot use a backend that is disposed";
    assertThrows(() => closed.allocate("f32", [1]), TypeError, closedMessage);
    assertThrows(() => closed.upload(zeros("f32", [1])), TypeError, closedMessage);
  });

  test("allocate() fails if the memory is not available, and leaks nothing", (backend) => {
    const live = backend.memory.liveBytes;
    const error = assertThrows(() => backend.allocate("f16", [2 ** 45]), Error);
    assert(error instanceof RangeError || error instanceof CudaError && error.code === 2, `${error}`);
    assertEquals(backend.memory.liveBytes, live);
    return Promise.resolve();
  });

  test("a tensor keeps its shape if the caller changes its own array", async (backend) => {
    const shape = [4], data = new Float32Array(new SharedArrayBuffer(16));
    using allocated = backend.allocate("f32", shape);
    using uploaded = backend.upload({ dtype: "f32", shape, data });
    using made = await backend.ops.full("f32", shape, 1);
    shape[0] = 100_000;
    await backend.fill(allocated, (piece) => void piece.fill(1));
    for (const tensor of [allocated, uploaded, made]) {
      assertEquals(tensor.shape, [4]);
      assertEquals((await backend.download(tensor)).data.length, 4);
    }
  });

  test("read() rejects a range outside of the tensor", async (backend) => {
    using tensor = backend.upload(zeros("f32", [4]));
    for (const [start, end] of [[-1, 2], [3, 2], [0, 5], [0.5, 2], [NaN, 2]] as const) {
      await assertRejects(
        () => backend.read(tensor, () => {}, { start, end }),
        RangeError,
        "range must be within the 4",
      );
    }
    await backend.read(tensor, () => assert(false, "an empty range has a piece"), { start: 2, end: 2 });
  });
}
