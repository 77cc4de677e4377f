// Reads the properties of a cubin's kernels. A cubin is an ELF file. The section `.nv.info.<kernel>` contains nvcc's notes on a
// kernel: records of format, attribute and, for format 4, a length and a payload.
import type { KernelRecord } from "../src/cuda/images/manifest_types.ts";

/** What a cubin contains about a kernel. The names of its arguments are only in the source. */
export interface CubinKernel
  extends Pick<KernelRecord, "name" | "registers" | "frameBytes" | "sharedBytes" | "maxThreads" | "waits"> {
  /** The position of each parameter in the argument buffer. */
  readonly parameters: readonly { readonly offset: number; readonly size: number }[];
}

interface Section {
  readonly name: string;
  readonly type: number;
  readonly info: number;
  readonly link: number;
  readonly data: DataView;
}

const entryFlag = 0x10; // in a symbol's st_other: marks a kernel, not a function that it calls
const functionType = 2; // STT_FUNC
const symbolTable = 2; // SHT_SYMTAB

/** Attributes of `.nv.info` records. */
const attribute = { maxThreads: 0x05, frameSize: 0x11, parameter: 0x17, registers: 0x2f } as const;

/** Shared memory that the system reserves in every block from sm_90 on. The static size includes it. */
const reservedShared = 1024;

/** The opcode of griddepcontrol.wait in machine code from sm_90 on, whose instructions have 16 bytes. */
const waitOpcode = 0x82e;

/** Describes the kernels of a cubin, sorted by name. */
export function readCubin(image: Uint8Array<ArrayBuffer>, computeCapability: number): CubinKernel[] {
  const sections = readSections(image);
  const symbols = sections.find(({ type }) => type === symbolTable)!;
  const strings = sections[symbols.link]!.data;
  const kernels = new Map<number, string>();
  for (let i = 0, at = 0; at < symbols.data.byteLength; i++, at += 24) {
    const info = symbols.data.getUint8(at + 4), other = symbols.data.getUint8(at + 5);
    if ((info & 0xf) === functionType && other & entryFlag) {
      kernels.set(i, cString(strings, symbols.data.getUint32(at, true)));
    }
  }

  const data = (name: string) => sections.find((section) => section.name === name)?.data;
  const general = [...records(data(".nv.info")!)];
  const perSymbol = (wanted: number, symbol: number) =>
    general.find(({ kind, payload }) => kind === wanted && payload.getUint32(0, true) === symbol)!.payload.getUint32(
      4,
      true,
    );

  return [...kernels].map(([symbol, name]) => {
    const own = [...records(data(`.nv.info.${name}`)!)];
    const parameters = own.filter(({ kind }) => kind === attribute.parameter).map(({ payload }) => ({
      ordinal: payload.getUint16(4, true),
      offset: payload.getUint16(6, true),
      size: payload.getUint32(8, true) >>> 18,
    }));
    const shared = sections.find((section) => section.name === `.nv.shared.${name}`)?.data.byteLength ?? 0;
    return {
      name,
      registers: perSymbol(attribute.registers, symbol),
      // The frame contains the stack and the spills: a kernel without a frame spills nothing.
      frameBytes: perSymbol(attribute.frameSize, symbol),
      sharedBytes: computeCapability >= 90 ? Math.max(0, shared - reservedShared) : shared,
      maxThreads: own.find(({ kind }) => kind === attribute.maxThreads)?.payload.getUint32(0, true) ?? 1024,
      waits: opcodes(data(`.text.${name}`)!).includes(waitOpcode),
      parameters: parameters.sort((a, b) => a.ordinal - b.ordinal).map(({ offset, size }) => ({ offset, size })),
    };
  }).sort((a, b) => a.name < b.name ? -1 : 1);
}

/** The opcodes of a kernel's instructions. */
function opcodes(text: DataView): number[] {
  return Array.from({ length: text.byteLength / 16 }, (_, i) => text.getUint16(i * 16, true) & 0xfff);
}

function readSections(image: Uint8Array<ArrayBuffer>): Section[] {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  if (view.getUint32(0) !== 0x7f454c46) throw new TypeError("Cannot read a cubin: expected an ELF file");
  const table = Number(view.getBigUint64(40, true));
  const size = view.getUint16(58, true), count = view.getUint16(60, true), nameSection = view.getUint16(62, true);
  const headers = Array.from({ length: count }, (_, i) => {
    const at = table + i * size;
    const type = view.getUint32(at + 4, true);
    const offset = Number(view.getBigUint64(at + 24, true)), bytes = Number(view.getBigUint64(at + 32, true));
    // A section without data in the file (SHT_NOBITS, such as shared memory) still has a size.
    const data = type === 8
      ? new DataView(new ArrayBuffer(bytes))
      : new DataView(image.buffer, image.byteOffset + offset, bytes);
    return {
      nameAt: view.getUint32(at, true),
      type,
      link: view.getUint32(at + 40, true),
      info: view.getUint32(at + 44, true),
      data,
    };
  });
  const names = headers[nameSection]!.data;
  return headers.map(({ nameAt, ...header }) => ({ name: cString(names, nameAt), ...header }));
}

function* records(info: DataView): Iterable<{ kind: number; payload: DataView }> {
  for (let at = 0; at + 4 <= info.byteLength;) {
    const format = info.getUint8(at), kind = info.getUint8(at + 1), length = info.getUint16(at + 2, true);
    const bytes = format === 4 ? length : 0;
    yield { kind, payload: new DataView(info.buffer, info.byteOffset + at + 4, bytes) };
    at += 4 + bytes;
  }
}

function cString(data: DataView, at: number): string {
  let end = at;
  while (data.getUint8(end) !== 0) end++;
  return new TextDecoder().decode(new Uint8Array(data.buffer, data.byteOffset + at, end - at));
}
