// Packed weights with each number of a format, and a call whose output has them: gates are 1, and the input and down are identity
// matrices, so that the output has the up rows.
import { convert, type DType, type ExpertsInputs, packed, type PackedTensor, tensor } from "../mod.ts";
import type { SmallRandom } from "./small_random.ts";

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
export function int4Numbers(
  random: SmallRandom,
  range: readonly [number, number],
  group: number,
): [PackedTensor, PackedTensor] {
  const one = 9; // 9 - 8
  const number = (row: number, column: number) => row < size ? one : column + row & 15;
  const scalesOf = (rows: number, at: (row: number) => number) => {
    const data = Float32Array.from(
      { length: E * rows * size / group },
      (_, i) => at(Math.floor(i * group / size) % rows),
    );
    return convert(tensor(data, [E, rows, size / group]), "bf16");
  };
  const upScale = () =>
    (random.integer(0, 1) * 2 - 1) * (1 + random.next() * 127 / 128) * 2 ** random.integer(...range);
  const gateUp = {
    values: bytesOf(2 * size, size / 2, (row, pair) => number(row, pair * 2) | number(row, pair * 2 + 1) << 4),
    scales: scalesOf(2 * size, (row) => row < size ? 1 : upScale()),
  };
  const identity = (row: number, pair: number) => row >> 1 === pair ? one << row % 2 * 4 | 8 << 4 - row % 2 * 4 : 0x88;
  const down = { values: bytesOf(size, size / 2, identity), scales: scalesOf(size, () => 1) };
  return [packed("int4", gateUp, [E, 2 * size, size], concatenated), packed("int4", down, [E, size, size])];
}

/** Weights of NVFP4. Each group of columns has all numbers, and the groups have all scales that are not NaN. */
export function nvfp4Numbers(random: SmallRandom, range: readonly [number, number]): [PackedTensor, PackedTensor] {
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

/** Scales for which find_rest of cuda/packed_fp8.cu does not return the first number that it tries, but each of the others. */
const hardScales = [1.262494683265686, 1.292968511581421, 1.4176113605499268, 1.5580365657806396];

/** Weights of FP8. The up rows have all numbers that are not NaN. A scale is that of `rows` rows. */
export function fp8Numbers(
  random: SmallRandom,
  range: readonly [number, number],
  rows: number,
): [PackedTensor, PackedTensor] {
  const one = 0x38, bands = size / rows;
  const up = (number: number) => (number & 0x7f) === 0x7f ? 0 : number;
  const halves = Array.from({ length: bands }, () => halvesOf(random, range));
  const scales = Float32Array.from({ length: E * 2 * bands }, (_, i) => {
    const expert = Math.floor(i / 2 / bands), band = i % (2 * bands);
    const isUp = band >= bands, hard = isUp && rows === 1 ? hardScales[band - bands] : undefined;
    return hard ?? halves[band % bands]![expert * 2 + Number(isUp)]!;
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

/** The options of the call. */
export const numbersOptions = { ...concatenated, weightLayout: "out-in", activation: "relu" } as const;

/** Makes the inputs of the call. Row `t` of the output has column `t % 64` of the up rows of expert `t / 64`. */
export function numbersInputs([gateUpProj, downProj]: [PackedTensor, PackedTensor], dtype: DType): ExpertsInputs {
  const T = E * size, hidden = new Float32Array(T * size);
  for (let t = 0; t < T; t++) hidden[t * size + t % size] = 1;
  return {
    ...{ hiddenStates: convert(tensor(hidden, [T, size]), dtype), gateUpProj, downProj },
    routerIndices: tensor(Int32Array.from({ length: T }, (_, t) => Math.floor(t / size)), [T, 1]),
    routingWeights: convert(tensor(new Float32Array(T).fill(1), [T, 1]), dtype),
  };
}
