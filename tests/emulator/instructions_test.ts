import { assertAlmostEquals, assertEquals } from "@std/assert";
import { toolkit } from "../toolkit.ts";
import { TestDevice } from "./device.ts";

const source = new URL("./selftest/instructions.cu", import.meta.url);

function test(name: string, fn: (device: TestDevice) => void, archs = [75, 80, 90]): void {
  for (const arch of archs) {
    Deno.test({
      name: `emulator sm_${arch}: ${name}`,
      ignore: !toolkit,
      fn: async () => {
        using device = await TestDevice.open(source, arch);
        fn(device);
      },
    });
  }
}

const lanes = Array.from({ length: 32 }, (_, lane) => lane);

for (const transpose of [0, 1]) {
  test(`ldmatrix${transpose ? ".trans" : ""} loads each lane's elements`, (device) => {
    const elements = Uint16Array.from({ length: 256 }, (_, i) => i * 7 + 1);
    const out = device.allocate(512);
    device.launch("test_ldmatrix", 32, [device.upload(new Uint32Array(elements.buffer)), out.pointer, transpose], {
      sharedBytes: 512,
    });
    const got = new Uint16Array(device.download(out).buffer);
    for (const lane of lanes) {
      for (let m = 0; m < 4; m++) {
        for (let e = 0; e < 2; e++) {
          const [i, j] = transpose ? [lane % 4 * 2 + e, lane >> 2] : [lane >> 2, lane % 4 * 2 + e];
          assertEquals(got[(m * 32 + lane) * 2 + e], elements[m * 64 + i! * 8 + j!]);
        }
      }
    }
  });
}

/** Compares a matrix product of fragments with the definition. Small integers and halves are exact in every format. */
function testMma(kernel: string, encode: (value: number) => number, archs?: number[]): void {
  test(`${kernel} multiplies`, (device) => {
    const a = Array.from({ length: 16 }, (_, m) => Array.from({ length: 16 }, (_, k) => (m * 5 + k * 3) % 11 - 5));
    const b = Array.from({ length: 16 }, (_, k) => Array.from({ length: 8 }, (_, n) => ((k * 7 + n * 2) % 9 - 4) / 2));
    const c = Array.from({ length: 16 }, (_, m) => Array.from({ length: 8 }, (_, n) => m - n));
    const pack = (low: number, high: number) => (encode(low) | encode(high) << 16) >>> 0;
    const fa = lanes.flatMap((l) =>
      [0, 1, 2, 3].map((i) => {
        const row = (l >> 2) + i % 2 * 8, k = l % 4 * 2 + (i >> 1) * 8;
        return pack(a[row]![k]!, a[row]![k + 1]!);
      })
    );
    const fb = lanes.flatMap((l) =>
      [0, 1].map((i) => {
        const k = l % 4 * 2 + i * 8;
        return pack(b[k]![l >> 2]!, b[k + 1]![l >> 2]!);
      })
    );
    const place = (l: number, i: number): [number, number] => [(l >> 2) + (i >> 1) * 8, l % 4 * 2 + i % 2];
    const fc = lanes.flatMap((l) => [0, 1, 2, 3].map((i) => c[place(l, i)[0]]![place(l, i)[1]]!));
    const sums = device.allocate(512);
    sums.write(Float32Array.from(fc));
    device.launch(kernel, 32, [device.upload(Uint32Array.from(fa)), device.upload(Uint32Array.from(fb)), sums.pointer]);
    const got = new Float32Array(device.download(sums).buffer);
    for (const l of lanes) {
      for (let i = 0; i < 4; i++) {
        const [m, n] = place(l, i);
        const expected = a[m]!.reduce((sum, value, k) => sum + value * b[k]![n]!, c[m]![n]!);
        assertAlmostEquals(got[l * 4 + i]!, expected, 1e-6, `row ${m}, column ${n}`);
      }
    }
  }, archs);
}

const f16Bits = (value: number) => new Uint16Array(Float16Array.of(value).buffer)[0]!;
const bf16Bits = (value: number) => new Uint32Array(Float32Array.of(value).buffer)[0]! >>> 16;
testMma("test_mma_f16", f16Bits);
testMma("test_mma_bf16", bf16Bits, [80, 90]);

for (const bytes of [0, 4, 8, 16]) {
  test(`cp.async copies ${bytes} of 16 bytes and fills the rest with zeros`, (device) => {
    const out = device.allocate(512);
    const words = Int32Array.from({ length: 128 }, (_, i) => i + 1);
    device.launch("test_cp_async", 32, [device.upload(words), out.pointer, bytes], { sharedBytes: 512 });
    const expected = words.map((_, i) => i % 4 * 4 < bytes ? words[((i >> 2 ^ 1) << 2) + i % 4]! : 0);
    assertEquals(device.download(out), expected);
  }, bytes === 0 || bytes === 16 ? undefined : [80, 90]);
}

test("streaming loads and stores copy", (device) => {
  const words = Int32Array.from({ length: 128 }, (_, i) => i * 3);
  const out = device.allocate(512);
  device.launch("test_streaming", 32, [device.upload(words), out.pointer]);
  assertEquals(device.download(out), words);
});

test("warp intrinsics follow the CUDA C++ Programming Guide", (device) => {
  const input = Int32Array.from(lanes, (lane) => lane * 37 % 61 + (lane << 20));
  const out = device.allocate(9 * 128);
  device.launch("test_warp", 32, [device.upload(input), out.pointer]);
  const lines: ((lane: number) => number)[] = [
    () => input[5]!,
    (lane) => input[(lane & ~7) + (lane + 3) % 8]!,
    (lane) => input[lane < 4 ? lane : lane - 4]!,
    (lane) => input[lane > 27 ? lane : lane + 4]!,
    (lane) => input[lane ^ 9]!,
    () => lanes.reduce((bits, lane) => bits | (input[lane]! & 1) << lane, 0),
    (lane) => lanes.reduce((bits, other) => bits | Number((input[other]! & 3) === (input[lane]! & 3)) << other, 0),
    (lane) => (input[lane]! >>> 0).toString(2).replaceAll("0", "").length,
    (lane) => (input[lane]! & 0xffff) | 0x11000000 | 0,
  ];
  assertEquals(device.download(out), Int32Array.from(lines.flatMap((line) => lanes.map(line))));
});

test("atomics add up", (device) => {
  const sum = device.allocate(4);
  sum.write(Int32Array.of(1000));
  const input = Int32Array.from({ length: 64 }, (_, i) => i);
  device.launch("test_atomics", 64, [device.upload(input), sum.pointer], { blocks: 3 });
  assertEquals(device.download(sum)[0], 1000 + 3 * 2016);
});
