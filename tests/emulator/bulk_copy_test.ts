import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { CudaError } from "../../mod.ts";
import { encodeTensorMap, type TensorMapOptions } from "../../src/cuda/driver/tensor_map.ts";
import { toolkit } from "../toolkit.ts";
import { clang } from "./build.ts";
import { TestDevice } from "./device.ts";

const source = new URL("./selftest/bulk_copy.cu", import.meta.url);
const lines = Deno.readTextFileSync(source).split("\n");

function test(name: string, fn: (device: TestDevice) => void, checked = false): void {
  Deno.test({
    name: `emulator sm_90: ${name}`,
    ignore: !toolkit || checked && !clang,
    fn: async () => {
      using device = await TestDevice.open(source, 90);
      fn(device);
      device.control.reset();
    },
  });
}

/** Pads a tensor map's options to the four dimensions that the kernels copy. */
function fourDimensions({ sizes, strides, box, ...options }: TensorMapOptions): TensorMapOptions {
  const pad = (
    values: readonly number[],
    missing: number,
    count = 4,
  ) => [...values, ...Array<number>(count - values.length).fill(missing)];
  return { ...options, sizes: pad(sizes, 1), strides: pad(strides, 16, 3), box: pad(box, 1) };
}

/** Uploads numbers as elements of two or four bytes. */
function upload(device: TestDevice, bytes: 2 | 4, count: number, value = (i: number) => i + 1): bigint {
  const data = Array.from({ length: count + count % 2 }, (_, i) => value(i));
  return device.upload(bytes === 4 ? Uint32Array.from(data) : new Uint32Array(Uint16Array.from(data).buffer));
}

interface Box {
  readonly dtype: "f16" | "bf16" | "f32" | "i32";
  readonly sizes: readonly number[];
  /** The sizes of the tensor in memory, in elements. Defaults to `sizes`. */
  readonly memory?: readonly number[];
  readonly box: readonly number[];
  readonly swizzle: 0 | 32 | 64 | 128;
  readonly at: readonly number[];
}

const boxes: readonly Box[] = [
  { dtype: "f16", sizes: [64, 8], box: [64, 8], swizzle: 128, at: [0, 0] },
  { dtype: "f16", sizes: [200, 50], memory: [208, 50], box: [64, 24], swizzle: 128, at: [64, 16] },
  { dtype: "bf16", sizes: [195, 50], memory: [200, 50], box: [64, 16], swizzle: 128, at: [160, 40] }, // past both ends
  { dtype: "f16", sizes: [72, 10], box: [64, 16], swizzle: 128, at: [-24, -3] }, // before both starts
  { dtype: "f16", sizes: [64, 8], box: [64, 8], swizzle: 128, at: [64, 0] }, // entirely outside
  { dtype: "f16", sizes: [40, 9], box: [16, 9], swizzle: 0, at: [30, 1] },
  { dtype: "f16", sizes: [40, 40], box: [8, 40], swizzle: 0, at: [3, -1] },
  { dtype: "f16", sizes: [64, 40], box: [32, 24], swizzle: 64, at: [8, 1] },
  { dtype: "f16", sizes: [64, 40], box: [16, 32], swizzle: 32, at: [8, 1] },
  { dtype: "f32", sizes: [36, 20], box: [32, 16], swizzle: 128, at: [8, 5] },
  { dtype: "i32", sizes: [37, 20], memory: [40, 20], box: [256, 3], swizzle: 0, at: [-100, 18] },
  { dtype: "f16", sizes: [72, 9, 5], memory: [80, 11, 5], box: [64, 4, 3], swizzle: 128, at: [16, 7, -1] },
  { dtype: "f16", sizes: [8, 6, 5, 4], box: [8, 2, 4, 2], swizzle: 0, at: [0, 5, 2, 3] },
  { dtype: "bf16", sizes: [64, 3, 5, 4], box: [64, 2, 4, 2], swizzle: 128, at: [0, -1, 2, 3] },
  { dtype: "f32", sizes: [12, 3, 4, 5], box: [8, 3, 2, 2], swizzle: 0, at: [8, -2, 2, -1] },
];

/** Returns the expected contents of shared memory, following the tables of the PTX manual's section "Swizzling Modes". */
function expected({ dtype, sizes, memory = sizes, box, swizzle, at }: Box): number[] {
  const bytes = dtype === "f32" || dtype === "i32" ? 4 : 2;
  const perChunk = 16 / bytes, chunks = box[0]! / perChunk, rows = box.slice(1).reduce((a, b) => a * b, 1);
  const out = new Array<number>(rows * box[0]!).fill(0);
  for (let row = 0; row < rows; row++) {
    for (let e = 0; e < box[0]!; e++) {
      let rest = row, index = 0, stride = 1, inside = true;
      for (let d = 0; d < box.length; d++) {
        const inBox = d === 0 ? e : rest % box[d]!;
        if (d > 0) rest = Math.floor(rest / box[d]!);
        const coordinate = at[d]! + inBox;
        inside &&= coordinate >= 0 && coordinate < sizes[d]!;
        index += coordinate * stride;
        stride *= memory[d]!;
      }
      const chunk = Math.floor(e / perChunk);
      const swizzled =
        { 0: chunk, 32: chunk ^ (row >> 2 & 1), 64: chunk ^ (row >> 1 & 3), 128: chunk ^ (row & 7) }[swizzle];
      out[(row * chunks + swizzled) * perChunk + e % perChunk] = inside ? index + 1 : 0;
    }
  }
  return out;
}

for (const it of boxes) {
  const { dtype, sizes, memory = sizes, box, swizzle, at } = it;
  test(`a bulk copy of ${dtype} [${sizes}] by [${box}] from [${at}], swizzled by ${swizzle}`, (device) => {
    const bytes = dtype === "f32" || dtype === "i32" ? 4 : 2;
    const count = memory.reduce((a, b) => a * b, 1), total = box.reduce((a, b) => a * b, bytes);
    const strides = memory.slice(0, -1).map((_, d) => memory.slice(0, d + 1).reduce((a, b) => a * b, bytes));
    const map = fourDimensions({ dtype, pointer: upload(device, bytes, count), sizes, strides, box, swizzle });
    const out = device.allocate(total);
    const coordinates = [0, 1, 2, 3].map((d) => at[d] ?? 0);
    device.launch("test_bulk_copy", 64, [map, out.pointer, total, total, ...coordinates], {
      sharedBytes: 2 * total + 16,
    });
    const got = device.download(out).buffer;
    assertEquals([...bytes === 4 ? new Uint32Array(got) : new Uint16Array(got)], expected(it));
  });
}

test("bulk copies deliver the right bytes to a ring, whatever the order in which they land", (device) => {
  const rounds = 14;
  const pointer = upload(device, 2, rounds * 512);
  const map = fourDimensions({
    ...{ dtype: "f16", pointer, sizes: [64, rounds * 8], strides: [128], box: [64, 8], swizzle: 128 },
  });
  const sums = Array.from({ length: 64 }, () => 0);
  const rows = expected({ dtype: "f16", sizes: [64, rounds * 8], box: [64, rounds * 8], swizzle: 128, at: [0, 0] });
  const words = new Uint32Array(Uint16Array.from(rows).buffer);
  words.forEach((word, i) => sums[i % 64] = (sums[i % 64]! + word) >>> 0);
  for (let seed = 0; seed < 12; seed++) {
    device.control.schedule(seed, seed % 3 ? 7 : 0);
    const out = device.allocate(256);
    device.launch("test_bulk_ring", 96, [map, out.pointer, rounds], { sharedBytes: 2 * 1024 + 32 });
    assertEquals([...new Uint32Array(device.download(out).buffer)], sums, `seed ${seed}`);
  }
});

for (const [way, name] of ["a barrier", "a __syncwarp", "an mbarrier"].entries()) {
  test(`${name} after one thread's wait for a bulk copy orders it for the other threads`, (device) => {
    const map = fourDimensions(box16(upload(device, 2, 16 * 64)));
    const out = device.allocate(256);
    device.launch("test_bulk_known", 64, [map, out.pointer, way], { sharedBytes: 2 * 1024 + 16 });
    const [first] = device.download(out, 1);
    assertEquals(first, 1 | 2 << 16);
  }, true);
}

const a = (m: number, k: number) => (m * 5 + k * 3) % 11 - 5;
const b = (n: number, k: number) => (n * 7 + k * 2) % 9 - 4;
const f16 = (value: number) => new Uint16Array(Float16Array.of(value).buffer)[0]!;

function operands(device: TestDevice, across: boolean) {
  const left = upload(device, 2, 64 * 64, (i) => f16(across ? a(i & 63, i >> 6) : a(i >> 6, i & 63)));
  const right = upload(device, 2, 192 * 64, (i) => f16(b(i >> 6, i & 63)));
  const common = { dtype: "f16", box: [64, 64], swizzle: 128, strides: [128] } as const;
  return [
    fourDimensions({ ...common, pointer: left, sizes: [64, 64] }),
    fourDimensions({ ...common, pointer: right, sizes: [64, 192] }),
  ] as const;
}
const wgmmaBytes = 256 * 128 + 16;

for (const [suffix, across] of [["", false], ["_across", true]] as const) {
  test(`wgmma multiplies operands that bulk copies delivered: test_bulk_wgmma${suffix}`, (device) => {
    const out = device.allocate(64 * 192 * 4);
    const args = [...operands(device, across), out.pointer];
    device.launch(`test_bulk_wgmma${suffix}`, 128, args, { sharedBytes: wgmmaBytes });
    const got = new Float32Array(device.download(out).buffer);
    for (let m = 0; m < 64; m++) {
      for (let n = 0; n < 192; n++) {
        let sum = 0;
        for (let k = 0; k < 64; k++) sum += a(m, k) * b(n, k);
        assertEquals(got[m * 192 + n], sum, `row ${m}, column ${n}`);
      }
    }
  });
}

/** Returns the map of a tensor of 16 rows that the faulty kernels expect. */
function box16(pointer: bigint, rows = 16): TensorMapOptions {
  return { dtype: "f16", pointer, sizes: [64, rows], strides: [128], box: [64, 8], swizzle: 128 };
}

type Other = (device: TestDevice, pointer: bigint) => TensorMapOptions;
const faults: Record<string, readonly [code: number, text: string, other?: Other]> = {
  fault_bulk_no_wait: [719, "while an asynchronous copy to it is in flight"],
  fault_bulk_wait_for_another: [719, "written by a bulk copy with no barrier between"],
  fault_bulk_misaligned: [716, "which must be a multiple of 128"],
  fault_bulk_past_shared: [700, "past dynamic shared memory"],
  fault_bulk_over_mbarrier: [719, "a bulk copy overwrites the mbarrier at"],
  fault_bulk_no_mbarrier: [719, "is not an mbarrier"],
  fault_bulk_mbarrier_without_fence: [719, "with no fence of the async proxy since it was initialised"],
  fault_bulk_too_few_bytes: [719, "an mbarrier lacks 0 arrivals and -16 bytes"],
  fault_bulk_too_many_arrivals: [719, "an arrival at an mbarrier that has all its 1 arrivals"],
  fault_bulk_too_many_bytes: [719, "cannot expect 1048576 more bytes"],
  fault_bulk_in_flight_at_the_end: [719, "ends with a bulk copy in flight"],
  fault_bulk_nobody_waits: [719, "ends with a bulk copy for which no thread has waited"],
  fault_bulk_before_all_have_read: [719, "a race: write"],
  fault_bulk_before_a_warp_has_read: [719, "a race: write"],
  fault_bulk_map_misaligned: [716, "the address must be a multiple of 64"],
  fault_bulk_map_copied: [719, "a copy of a tensor map"],
  fault_bulk_no_map: [719, "not a tensor map that the driver has encoded"],
  fault_bulk_prefetch_of_no_map: [719, "not a tensor map that the driver has encoded"],
  fault_bulk_wrong_dimensions: [719, "with 4 coordinates by a tensor map of 2 dimensions"],
  fault_bulk_out_of_bounds: [700, "out-of-bounds", (_, pointer) => ({ ...box16(pointer + 1040n), sizes: [64, 9] })],
  fault_bulk_unwritten: [719, "which no thread has written", (device) => box16(device.allocate(2048).pointer)],
  fault_bulk_short_rows: [719, "this layout is not documented", (_, pointer) => ({
    ...box16(pointer),
    ...{ sizes: [8, 128], strides: [16], box: [8, 64] },
  })],
  fault_bulk_freed: [700, "of freed memory", (device) => {
    const freed = device.allocate(2048);
    const options = box16(freed.pointer);
    freed[Symbol.dispose]();
    return options;
  }],
};

for (const [kernel, [code, text, other]] of Object.entries(faults)) {
  test(`${kernel} is reported with its place, and its repaired variant passes`, (device) => {
    const pointer = upload(device, 2, 16 * 64);
    const map = fourDimensions(box16(pointer));
    const twice = new Uint8Array(512);
    const bytes = encodeTensorMap(device.stream.context, map);
    twice.set(bytes);
    twice.set(bytes, 128);
    const args = [
      map,
      kernel === "fault_bulk_wrong_dimensions" ? box16(pointer) : other ? fourDimensions(other(device, pointer)) : map,
      device.upload(new Uint32Array(twice.buffer)),
    ];
    const run = (fixed: number) =>
      device.launch(kernel, 64, [...args, device.allocate(256).pointer, fixed], { sharedBytes: 2 * 1024 + 256 });
    run(1);
    const error = assertThrows(() => run(0), CudaError);
    assertEquals([error.code, error.poisoned], [code, true]);
    const { report } = device.control;
    assertStringIncludes(report, text);
    assertStringIncludes(report, `[kernel ${kernel}`);
    const marked = lines.findIndex((line) => line.includes(`// FAULT ${kernel}`)) + 1;
    if (marked > 0) assertStringIncludes(report, `bulk_copy.cu:${marked}`);
    else assertMatch(report, /bulk_copy\.cu:\d+/);
  }, true);
}

test("a box may have unwritten rows that are not read", (device) => {
  const words = Uint32Array.from({ length: 32 }, (_, i) => i + 1),
    rows = device.allocate(1024),
    out = device.allocate(128);
  rows.write(words);
  const map = {
    dtype: "f16",
    pointer: rows.pointer,
    sizes: [64, 8],
    strides: [128],
    box: [64, 8],
    swizzle: 128,
  } as const;
  device.launch("test_bulk_copy", 32, [fourDimensions(map), out.pointer, 1024, 128, 0, 0, 0, 0], {
    sharedBytes: 2 * 1024 + 256,
  });
  assertEquals(new Uint32Array(device.download(out).buffer), words);
}, true);

test("a bulk copy to an operand that wgmma may still read is reported", (device) => {
  const run = (fixed: number) =>
    device.launch("fault_bulk_while_wgmma_reads", 128, [
      ...operands(device, false),
      device.allocate(512).pointer,
      fixed,
    ], {
      sharedBytes: wgmmaBytes,
    });
  run(1);
  assertThrows(() => run(0), CudaError);
  assertStringIncludes(device.control.report, "while wgmma reads it");
  const line = lines.findIndex((line) => line.includes("// FAULT fault_bulk_while_wgmma_reads")) + 1;
  assert(device.control.report.includes(`bulk_copy.cu:${line}`), device.control.report);
}, true);
