// Packed weights on an emulated Hopper, number by number: gates are 1, and the input and down are identity matrices, so that
// the output has the up rows.
import { assertEquals } from "@std/assert";
import { convert, decode, type DType, experts, packed, type PackedTensor, tensor } from "../../mod.ts";
import { SmallRandom } from "../small_random.ts";
import { toolkit } from "../toolkit.ts";
import { emulated, openEmulated } from "./emulated.ts";

const [E, size] = [6, 64];

/** Makes the bytes of [E, rows, columns]. */
function bytesOf(rows: number, columns: number, at: (row: number, column: number) => number) {
  const data = Uint8Array.from(
    { length: E * rows * columns },
    (_, i) => at(Math.floor(i / columns) % rows, i % columns),
  );
  return tensor(data, [E, rows, columns]);
}

/** Makes [E, 2] scales: 1 for the gates, and a number of either sign for the up rows. */
function halvesOf(random: SmallRandom, [low, high]: readonly [number, number]): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: 2 * E }, (_, i) => {
    return i % 2 ? (i % 4 - 2) * (1 + random.next()) * 2 ** random.integer(low, high) : 1;
  });
}

const concatenated = { gateUpLayout: "concatenated" } as const;

/** Weights of integers with all numbers and with bf16 scales of either sign, for groups of so many columns. */
function int4(random: SmallRandom, range: readonly [number, number], group: number): [PackedTensor, PackedTensor] {
  const one = 9; // 9 - 8
  const number = (row: number, column: number) => row < size ? one : column + row & 15;
  const scalesOf = (rows: number, at: (row: number) => number) => {
    const data = Float32Array.from(
      { length: E * rows * size / group },
      (_, i) => at(Math.floor(i * group / size) % rows),
    );
    return convert(tensor(data, [E, rows, size / group]), "bf16");
  };
  const gateUp = {
    values: bytesOf(2 * size, size / 2, (row, pair) => number(row, pair * 2) | number(row, pair * 2 + 1) << 4),
    scales: scalesOf(2 * size, (row) => {
      return row < size
        ? 1
        : (random.integer(0, 1) * 2 - 1) * (1 + random.next() * 127 / 128) * 2 ** random.integer(...range);
    }),
  };
  const down = {
    values: bytesOf(
      size,
      size / 2,
      (row, pair) => row >> 1 === pair ? one << row % 2 * 4 | 8 << 4 - row % 2 * 4 : 0x88,
    ),
    scales: scalesOf(size, () => 1),
  };
  return [packed("int4", gateUp, [E, 2 * size, size], concatenated), packed("int4", down, [E, size, size])];
}

/** Weights of NVFP4. Each group of columns has all numbers, and the groups have all scales that are not NaN. */
function nvfp4(random: SmallRandom, range: readonly [number, number]): [PackedTensor, PackedTensor] {
  const one = { number: 2, scale: 0x38 };
  const up = (row: number, group: number) => (row * 4 + group & 0x7f) === 0x7f ? 0 : row * 4 + group;
  const number = (row: number, column: number) => row < size ? one.number : column + row & 15;
  const gateUp = {
    values: bytesOf(2 * size, size / 2, (row, pair) => number(row, pair * 2) | number(row, pair * 2 + 1) << 4),
    scales: bytesOf(2 * size, size / 16, (row, group) => row < size ? one.scale : up(row - size, group)),
    globalScales: tensor(halvesOf(random, range), [E, 2]),
  };
  const down = {
    values: bytesOf(size, size / 2, (row, pair) => row >> 1 === pair ? one.number << row % 2 * 4 : 0),
    scales: bytesOf(size, size / 16, () => one.scale),
    globalScales: tensor(new Float32Array(E).fill(1), [E]),
  };
  return [packed("nvfp4", gateUp, [E, 2 * size, size], concatenated), packed("nvfp4", down, [E, size, size])];
}

/** Weights of FP8. The up rows have all numbers that are not NaN. A scale is that of `rows` rows. */
function fp8(random: SmallRandom, range: readonly [number, number], rows: number): [PackedTensor, PackedTensor] {
  const one = 0x38, bands = size / rows;
  const up = (number: number) => (number & 0x7f) === 0x7f ? 0 : number;
  const halves = Array.from({ length: bands }, () => halvesOf(random, range));
  const scales = Float32Array.from({ length: E * 2 * bands }, (_, i) => {
    const expert = Math.floor(i / 2 / bands), band = i % (2 * bands);
    return halves[band % bands]![expert * 2 + Math.floor(band / bands)]!;
  });
  const gateUp = {
    values: bytesOf(2 * size, size, (row, column) => row < size ? one : up(column + row * size & 255)),
    scales: tensor(scales, [E, 2 * bands, 1]),
  };
  const down = {
    values: bytesOf(size, size, (row, column) => row === column ? one : 0),
    scales: tensor(new Float32Array(E * bands).fill(1), [E, bands, 1]),
  };
  const block = [rows, size] as const;
  return [
    packed("fp8", gateUp, [E, 2 * size, size], { ...concatenated, block }),
    packed("fp8", down, [E, size, size], { block }),
  ];
}

interface Case {
  readonly name: string;
  readonly dtype: DType;
  readonly tileRows: number;
  make(random: SmallRandom): [PackedTensor, PackedTensor];
}

const cases: readonly Case[] = [
  { name: "int4 with groups of 32", dtype: "bf16", tileRows: 16, make: (random) => int4(random, [-114, 6], 32) },
  { name: "int4 with groups of 64", dtype: "bf16", tileRows: 16, make: (random) => int4(random, [-114, 6], 64) },
  { name: "NVFP4", dtype: "bf16", tileRows: 64, make: (random) => nvfp4(random, [-108, -10]) },
  { name: "NVFP4", dtype: "bf16", tileRows: 16, make: (random) => nvfp4(random, [-20, -10]) },
  { name: "NVFP4", dtype: "f16", tileRows: 64, make: (random) => nvfp4(random, [-24, -10]) },
  { name: "FP8 with a scale for each row", dtype: "bf16", tileRows: 64, make: (random) => fp8(random, [-64, 6], 1) },
  { name: "FP8 with a scale for each row", dtype: "f16", tileRows: 64, make: (random) => fp8(random, [-20, -4], 1) },
  { name: "FP8 with a scale for 64 rows", dtype: "bf16", tileRows: 16, make: (random) => fp8(random, [-20, 6], 64) },
  { name: "FP8 with a scale for 64 rows", dtype: "f16", tileRows: 64, make: (random) => fp8(random, [-20, -4], 64) },
];

for (const { name, dtype, tileRows, make } of cases) {
  Deno.test({
    name:
      `cuda, ${emulated}, sm_90: each number of ${name} is the decoded weight in ${dtype}, tiles of ${tileRows} rows`,
    ignore: !toolkit,
    fn: async () => {
      const [gateUpProj, downProj] = make(new SmallRandom(tileRows));
      const T = E * size, hidden = new Float32Array(T * size);
      for (let t = 0; t < T; t++) hidden[t * size + t % size] = 1;

      using backend = (await openEmulated(90, tileRows)).backend;
      const out = await experts({
        ...{ hiddenStates: convert(tensor(hidden, [T, size]), dtype), gateUpProj, downProj },
        routerIndices: tensor(Int32Array.from({ length: T }, (_, t) => Math.floor(t / size)), [T, 1]),
        routingWeights: convert(tensor(new Float32Array(T).fill(1), [T, 1]), dtype),
      }, { ...concatenated, backend, weightLayout: "out-in", activation: "relu" });

      const actual = convert(out, "f32").data, expected = convert(decode(gateUpProj, dtype), "f32").data;
      for (let t = 0; t < T; t++) {
        for (let i = 0; i < size; i++) {
          const weight = expected[(Math.floor(t / size) * 2 * size + size + i) * size + t % size];
          const value = actual[t * size + i];
          if (value !== weight) assertEquals(value, weight, `token ${t}, output ${i}`); // only the signs of zeros may differ
        }
      }
    },
  });
}
