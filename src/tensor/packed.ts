/**
 * Makes packed tensors and checks them.
 *
 * @module
 */
import {
  isPacked,
  type PackedFormat,
  packedKinds,
  type PackedParts,
  type PackedTensor,
  partDTypes,
  partNames,
  partShapes,
} from "./packed_tensor.ts";
import { areWithin, firstAbove, firstNotFinite } from "./scan.ts";
import { e2m1, e8m0 } from "./small_floats.ts";
import {
  checkShape,
  checkTensor,
  describeValue,
  type DType,
  expectObject,
  formatShape,
  type Tensor,
} from "./tensor.ts";
import { checkNames } from "../known_names.ts";

/** What the parts of a packed tensor leave open. */
export interface PackedOptions {
  /**
   * `"int4"`: whether the numbers are signed, in two's complement. By default they are unsigned, with the zero points of
   * `zeroPoints`, or 8.
   *
   * @default {false}
   */
  readonly signed?: boolean | undefined;
  /**
   * `"fp8"`: the outputs and the inputs that share a scale. By default, this follows from the shape of the scales: a scale for
   * all, for each, or for each 128, or two scales, for the halves of the outputs.
   */
  readonly block?: readonly [outputs: number, inputs: number] | undefined;
  /**
   * For the gate and up projections: the order of their rows, as the option of {@linkcode experts}. A GPU may store a gate row
   * and its up row together, and then needs to know it before the first call. Without it, a call whose rows are
   * `"concatenated"` gives the same result, but may be slower.
   *
   * @default {"interleaved"}
   */
  readonly gateUpLayout?: "interleaved" | "concatenated" | undefined;
}

/**
 * Makes a packed tensor: a weight of {@linkcode experts} in the format in which a model is published, without a copy. A call
 * with packed weights has the same bits as the call with the weights that {@linkcode decode} returns. On GPUs like the H100,
 * each call decodes a weight first, which is slower, if it has `"mxfp4"` scales above 128 (a factor of 2), bf16 scales of
 * `"int4"` of 2^7 or more or below 2^-114, products of `"nvfp4"` scales of 2 or more or below 2^-118, `"fp8"` scales of 2^7 or
 * more or below 2^-64, or `"fp8"` numbers that are NaN.
 *
 * @param format The name of the format. See {@linkcode PackedFormat} for the value of a weight.
 * @param parts The tensors with the numbers and their scales; see {@linkcode PackedParts} for their dtypes and shapes.
 * @param shape [E, out, in]: the shape of the weights, as `weightLayout: "out-in"` has it. `in` is a multiple of 32 for
 * `"mxfp4"` and `"int4"`, and of 16 for `"nvfp4"`.
 * @param options What the parts leave open.
 * @returns The packed tensor. It shares its memory with the parts.
 * @throws {TypeError} If a part is missing, is not a tensor or has another dtype, or a name is unknown.
 * @throws {RangeError} If a shape does not match, a scale is not finite, or a zero point is above 16.
 *
 * @example Two experts with one output and 32 inputs
 * ```ts
 * import { decode, packed, tensor } from "@yamoe/yamoe";
 * import { assertEquals } from "@std/assert";
 *
 * const values = tensor(new Uint8Array(2 * 16).fill(0x42), [2, 1, 16]); // pairs of 1 and 2
 * const scales = tensor(new Uint8Array([127, 128]), [2, 1, 1]); // 1 and 2
 * const weight = packed("mxfp4", { values, scales }, [2, 1, 32]);
 * assertEquals(decode(weight, "f32").data.slice(30, 34), new Float32Array([1, 2, 2, 4]));
 * ```
 */
export function packed(
  format: PackedFormat["kind"],
  parts: PackedParts,
  shape: readonly number[],
  options: PackedOptions = {},
): PackedTensor {
  checkShape("shape", shape);
  if (shape.length !== 3 || shape.includes(0)) {
    throw new RangeError(`shape must be [E, out, in] with at least one element, got ${formatShape(shape)}`);
  }
  expectObject("parts", parts);
  checkNames("parts", parts, partNames);
  expectObject("options", options);
  checkNames("options", options, ["signed", "block", "gateUpLayout"]);
  if (options.signed !== undefined && typeof options.signed !== "boolean") {
    throw new TypeError(`signed must be true or false, got ${describeValue(options.signed)}`);
  }
  checkTensor("values", parts.values);
  checkTensor("scales", parts.scales);
  const [, outputs = 0, inputs = 0] = shape;
  const resolved = resolveFormat(format, parts, [outputs, inputs], options);
  checkParts("", resolved, parts, shape);
  const exactInF16 = checkElements(resolved, parts);
  const isSplit = resolveGateUpLayout(options.gateUpLayout, shape) === "concatenated";
  const given = Object.entries(parts).filter(([, part]) => part !== undefined);
  return Object.freeze({
    format: Object.freeze({
      ...resolved,
      ...resolved.kind === "mxfp4" && { exactInF16 },
      ...isSplit && { gateUpLayout: "concatenated" as const },
    }),
    shape: Object.freeze([...shape]),
    parts: Object.freeze(Object.fromEntries(given)) as unknown as PackedParts,
  });
}

/**
 * Checks that a packed tensor is well-formed: the dtypes, the shapes and the memory of its parts.
 *
 * @param name The name of the tensor. Error messages begin with it.
 * @throws {TypeError} If a part is missing, has another dtype, or its buffer is detached.
 * @throws {RangeError} If a part has another shape.
 */
export function checkPacked(name: string, weight: PackedTensor): void {
  expectObject(name, weight);
  const { format, parts, shape } = weight;
  if (!packedKinds.includes(format?.kind)) {
    throw new TypeError(`${name} must be a packed tensor, as packed() makes it, got ${describeValue(weight)}`);
  }
  checkShape(`${name}.shape`, shape);
  expectObject(`${name}.parts`, parts);
  checkParts(`${name}.`, format, parts, shape);
}

/** Checks a weight, dense or packed; see {@linkcode checkTensor} and {@linkcode checkPacked}. */
export function checkWeight(name: string, weight: Tensor | PackedTensor | undefined): void {
  if (weight !== undefined && isPacked<PackedTensor>(weight)) checkPacked(name, weight);
  else checkTensor(name, weight);
}

function checkParts(owner: string, format: PackedFormat, parts: PackedParts, shape: readonly number[]): void {
  const shapes = partShapes(format, shape), dtypes = partDTypes(format);
  for (const name of partNames) {
    const part = parts[name], expected = shapes[name];
    if (expected === undefined) {
      if (part === undefined) continue;
      throw new TypeError(
        `${owner}${name} must not be given for ${format.kind}${name === "zeroPoints" ? " with signed integers" : ""}`,
      );
    }
    checkTensor(owner + name, part);
    if (part.dtype !== dtypes[name]) {
      throw new TypeError(`${owner}${name} must be of dtype ${dtypes[name]} for ${format.kind}, got ${part.dtype}`);
    }
    if (formatShape(part.shape) === formatShape(expected)) continue;
    throw new RangeError(
      `${owner}${name} must have shape ${formatShape(expected)} for ${format.kind} of shape ${formatShape(shape)}, ` +
        `got ${formatShape(part.shape)}`,
    );
  }
}

function resolveGateUpLayout(layout: PackedOptions["gateUpLayout"], [, outputs = 0]: readonly number[]) {
  if (layout !== undefined && layout !== "interleaved" && layout !== "concatenated") {
    throw new RangeError(`gateUpLayout must be "interleaved" or "concatenated", got ${describeValue(layout)}`);
  }
  if (layout === "concatenated" && outputs % 2 !== 0) {
    throw new RangeError(`gateUpLayout "concatenated" needs an even number of outputs, got ${outputs}`);
  }
  return layout;
}

/** Decides the variant of a format by the parts. */
function resolveFormat(
  kind: PackedFormat["kind"],
  { scales, globalScales, zeroPoints }: PackedParts,
  [outputs, inputs]: readonly [number, number],
  { signed = false, block }: PackedOptions,
): PackedFormat {
  if (block !== undefined && kind !== "fp8") throw new TypeError(`block must only be given for fp8, got ${kind}`);
  if (signed && kind !== "int4") throw new TypeError(`signed must only be given for int4, got ${kind}`);
  switch (kind) {
    case "mxfp4":
      expectMultiple(inputs, 32, kind);
      return { kind, exactInF16: false };
    case "nvfp4":
      expectMultiple(inputs, 16, kind);
      checkTensor("globalScales", globalScales);
      if (outputs % 2 !== 0 && globalScales.shape.length > 1) {
        throw new RangeError(`globalScales must have shape [E] for an odd number of outputs, got ${outputs} outputs`);
      }
      return { kind, globalScales: globalScales.shape.length > 1 ? 2 : 1 };
    case "int4": {
      expectMultiple(inputs, 32, kind);
      const group = inputs / (scales.shape[2] ?? 0);
      if (!Number.isInteger(group) || group % 32 !== 0) {
        throw new RangeError(
          `scales must have shape [E, out, in / group] with a group that is a multiple of 32, got ${
            formatShape(scales.shape)
          } for ${inputs} inputs`,
        );
      }
      const integers = signed ? "signed" : zeroPoints !== undefined ? "zero-points" : "offset";
      return { kind, group, integers, scale: scaleDType(scales, ["f16", "bf16", "f32"], kind) };
    }
    case "fp8": {
      return {
        kind,
        block: block !== undefined ? checkBlock(block) : findBlock(scales, outputs, inputs),
        scale: scales.dtype === "u8" ? "e8m0" : scaleDType(scales, ["f32", "bf16"], "fp8, or u8"),
      };
    }
    default:
      throw new RangeError(`format must be one of ${packedKinds.join(", ")}, got ${describeValue(kind)}`);
  }
}

function expectMultiple(inputs: number, group: number, kind: string): void {
  if (inputs % group === 0) return;
  throw new RangeError(`The inputs of ${kind} must be a multiple of ${group}, got ${inputs}`);
}

function scaleDType<Scale extends DType>({ dtype }: Tensor, expected: readonly Scale[], kind: string): Scale {
  const found = expected.find((name) => name === dtype);
  if (found !== undefined) return found;
  throw new TypeError(`scales must be of dtype ${expected.join(", ")} for ${kind}, got ${dtype}`);
}

function checkBlock(block: readonly [number, number]): readonly [number, number] {
  if (Array.isArray(block) && block.length === 2 && block.every((size) => Number.isSafeInteger(size) && size > 0)) {
    return [block[0], block[1]];
  }
  throw new RangeError(`block must be two integers of at least 1, got ${describeValue(block)}`);
}

/** Finds the block of FP8 numbers that share a scale. */
function findBlock({ shape }: Tensor, outputs: number, inputs: number): readonly [number, number] {
  const [, bands = 0, runs = 0] = shape;
  const halves = bands === 2 && outputs % 2 === 0 ? outputs / 2 : undefined;
  const rows = sizeOfBlock(bands, outputs) ?? halves, columns = sizeOfBlock(runs, inputs);
  if (rows && columns) return [rows, columns];
  const blocks = formatShape([Math.ceil(outputs / 128), Math.ceil(inputs / 128)]);
  throw new RangeError(
    `scales must have a scale for all, for each or for each 128 of [${outputs}, ${inputs}], which are ${blocks} blocks, ` +
      `got ${formatShape(shape)}`,
  );
}

function sizeOfBlock(scales: number, size: number): number | undefined {
  return scales === 1 ? size : scales === size ? 1 : scales === Math.ceil(size / 128) ? 128 : undefined;
}

/**
 * Checks the elements of the parts, or of some matrices of them.
 *
 * @returns Whether every weight is a number of f16, if the format is MXFP4.
 * @throws {RangeError} If a scale is not finite, or a zero point is above 16.
 */
export function checkElements({ kind }: PackedFormat, parts: PackedParts): boolean {
  const { scales, globalScales, zeroPoints } = parts;
  if (kind === "mxfp4" && areWithin(scales.data, f16Scales.minimum, f16Scales.maximum)) return true;
  if (scales.dtype === "u8") {
    const nan = kind === "nvfp4" ? firstNotFinite(scales.data, "e4m3") : firstAbove(scales.data, 254);
    if (nan >= 0) throw new RangeError(`scales must be finite, got the bits ${scales.data[nan]} at element ${nan}`);
  }
  expectFinite("scales", scales);
  if (globalScales) expectFinite("globalScales", globalScales);
  const at = zeroPoints ? firstAbove(zeroPoints.data, 16) : -1;
  if (at >= 0) {
    throw new RangeError(`zeroPoints must be integers from 0 to 16, got ${zeroPoints?.data[at]} at element ${at}`);
  }
  return kind !== "mxfp4" || isExactInF16(parts);
}

function expectFinite(name: string, { dtype, data }: Tensor): void {
  if (dtype !== "f16" && dtype !== "bf16" && dtype !== "f32") return;
  const at = firstNotFinite(data, dtype);
  if (at < 0) return;
  const value = dtype === "bf16" ? `the bits ${data[at]}` : data[at];
  throw new RangeError(`${name} must be finite, got ${value} at element ${at}`);
}

/** The scales with which every E2M1 number is a number of f16: 2^-23 to 2^13. */
const f16Scales = { minimum: 104, maximum: 140 };

/** Finds out whether every weight of MXFP4 is a number of f16. Only groups with other scales are looked at one by one. */
function isExactInF16({ values, scales }: PackedParts): boolean {
  return !scales.data.some((scale, group) => {
    if (scale >= f16Scales.minimum && scale <= f16Scales.maximum) return false;
    const factor = e8m0[scale] ?? NaN;
    return values.data.subarray(group * 16, group * 16 + 16)
      .some((pair) => !isF16((e2m1[pair & 15] ?? NaN) * factor) || !isF16((e2m1[pair >> 4] ?? NaN) * factor));
  });
}

function isF16(value: number): boolean {
  return Math.f16round(value) === value;
}
