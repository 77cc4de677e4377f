// Compiles the kernels for every architecture and writes them as modules of text with a manifest: `deno task build:cubins`.
// Requires nvcc 13.0. Only images whose sources have changed are compiled; the same sources give the same bytes.
import { brotliCompressSync, constants } from "node:zlib";
import { toBase85 } from "../src/cuda/images/base85.ts";
import { manifest as current } from "../src/cuda/images/built/manifest.ts";
import type { Image, KernelRecord, Manifest } from "../src/cuda/images/manifest_types.ts";
import { argumentStructs, layoutAssertions } from "./arguments.ts";
import { serializedProducts } from "./compiler_messages.ts";
import { readCubin } from "./cubin.ts";
import { kernelFiles, readSources } from "./sources.ts";

const sources = new URL("./", import.meta.url).pathname;
const target = new URL("../src/cuda/images/built/", import.meta.url);

/** The shipped images. PTX serves GPUs that no cubin serves. */
const images: Readonly<Record<string, Pick<Image, "kind" | "computeCapability">>> = {
  sm_75: { kind: "cubin", computeCapability: 75 },
  sm_80: { kind: "cubin", computeCapability: 80 },
  sm_90: { kind: "cubin", computeCapability: 90 },
  sm_100: { kind: "cubin", computeCapability: 100 },
  sm_120: { kind: "cubin", computeCapability: 120 },
  compute_80: { kind: "ptx", computeCapability: 80 },
};

const nvccVersion = "13.0.88";
const flags = ["-std=c++17", "-Werror", "all-warnings"];

/** A brotli window over the whole image makes the result a third of gzip's, because the kernels resemble each other. */
const compression = {
  params: { [constants.BROTLI_PARAM_LGWIN]: constants.BROTLI_MAX_WINDOW_BITS, [constants.BROTLI_PARAM_QUALITY]: 11 },
};

/** An image and its description. */
export interface BuiltImage {
  readonly description: Image;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/**
 * Compiles images, two at a time. Images of the same virtual architecture are compiled once.
 *
 * @param names The images to compile. Defaults to all.
 * @returns The images by name.
 * @throws {Error} If nvcc fails, or a kernel spills registers or waits for each product of wgmma.
 */
export async function buildCubins(names: readonly string[] = Object.keys(images)): Promise<Map<string, BuiltImage>> {
  const built = new Map<string, BuiltImage>();
  const compiled = new Map<string, Promise<Compiled>>();
  const queue = [...names];
  const work = async () => {
    for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
      const virtual = architecture(name);
      const known = compiled.get(virtual) ?? compile(virtual, kernelFiles(imageOf(name).computeCapability));
      compiled.set(virtual, known);
      built.set(name, await build(name, known));
    }
  };
  await Promise.all([work(), work()]);
  return built;
}

/** A digest of everything that an image depends on: its sources without comments, the compiler and its flags. */
export async function sourceDigest(name: string): Promise<string> {
  const { kind, computeCapability } = imageOf(name);
  const texts = [...readSources(kernelFiles(computeCapability))].flat();
  return await sha256(new TextEncoder().encode(JSON.stringify([kind, architecture(name), nvccVersion, flags, texts])));
}

/** The names of the images that are not built from the present sources. */
export async function staleImages(manifest: Manifest = current): Promise<string[]> {
  const digests = await Promise.all(
    Object.keys(images).map(async (name) => ({ name, digest: await sourceDigest(name) })),
  );
  return digests.filter(({ name, digest }) => manifest.images[name]?.sourceSha256 !== digest).map(({ name }) => name);
}

function imageOf(name: string): Pick<Image, "kind" | "computeCapability"> {
  const image = images[name];
  if (!image) throw new RangeError(`Unknown image "${name}": expected one of ${Object.keys(images).join(", ")}`);
  return image;
}

/** The virtual architecture that an image is compiled for. Hopper's own instructions require compute_90a. */
function architecture(name: string): string {
  return name.replace("sm", "compute").replace(/90$/, "90a");
}

async function build(name: string, compiled: Promise<Compiled>): Promise<BuiltImage> {
  const { kind, computeCapability } = imageOf(name);
  const { cubin, ptx, structs } = await compiled;
  const bytes = kind === "ptx" ? new Uint8Array([...ptx, 0]) : cubin; // the driver expects a zero at the end of PTX
  return {
    bytes,
    description: {
      ...{ kind, computeCapability, bytes: bytes.length, sha256: await sha256(bytes) },
      sourceSha256: await sourceDigest(name),
      kernels: describeKernels(name, readCubin(cubin, computeCapability), structs),
    },
  };
}

/** What the sources of a virtual architecture are compiled to. */
interface Compiled {
  readonly cubin: Uint8Array<ArrayBuffer>;
  /** The PTX from which the cubin is made. */
  readonly ptx: Uint8Array<ArrayBuffer>;
  readonly structs: ReturnType<typeof argumentStructs>;
}

async function compile(virtual: string, files: readonly string[]): Promise<Compiled> {
  const folder = await Deno.makeTempDir();
  try {
    const unit = `${folder}/kernels.cu`;
    const includes = files.map((file) => `#include "${file}"\n`).join("");
    await Deno.writeTextFile(unit, includes);
    const gencode = `-gencode=arch=${virtual},code=${virtual.replace("compute", "sm")}`;
    const common = [gencode, ...flags, `-I${sources}`];
    const structs = argumentStructs(
      readSources(files).values(),
      await nvcc("-E", "-Xcompiler", "-P", ...common, unit),
    );
    await Deno.writeTextFile(unit, includes + layoutAssertions(structs));
    await nvcc("-cubin", "-Xptxas", "-v", "--keep", `--keep-dir=${folder}`, ...common, "-o", `${folder}/cubin`, unit);
    return {
      cubin: await Deno.readFile(`${folder}/cubin`),
      ptx: await Deno.readFile(`${folder}/kernels.ptx`),
      structs,
    };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Describes the kernels of an image. Refuses those that spill registers: only they have a frame on the stack. */
export function describeKernels(
  image: string,
  kernels: ReturnType<typeof readCubin>,
  structs: ReturnType<typeof argumentStructs>,
): KernelRecord[] {
  const spilling = kernels.filter(({ frameBytes }) => frameBytes > 0).map(({ name }) => name);
  if (spilling.length > 0) throw new Error(`Cannot ship ${image}: ${spilling.join(", ")} spill registers`);
  return kernels.map(({ parameters: [parameter, ...others], ...record }) => {
    const struct = structs.get(record.name);
    if (!struct || !parameter || others.length > 0 || parameter.size !== struct.bytes) {
      throw new Error(
        `Cannot describe the arguments of ${record.name}: expected one struct of ${struct?.bytes} bytes, ` +
          `got ${JSON.stringify([parameter, ...others])}`,
      );
    }
    return { ...record, argumentsOffset: parameter.offset, argumentsBytes: parameter.size, fields: struct.fields };
  });
}

async function nvcc(...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command("nvcc", { args }).output();
  const messages = new TextDecoder().decode(stderr);
  if (!success) throw new Error(`nvcc ${args.join(" ")} failed:\n${messages}`);
  const serialized = serializedProducts(messages);
  if (serialized.length > 0) {
    throw new Error(`Cannot ship kernels that wait for each product: ${serialized.join("; ")}`);
  }
  return new TextDecoder().decode(stdout);
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

const header = "// Generated by `deno task build:cubins` from cuda/. Do not edit.\n";

function imageModule(bytes: Uint8Array<ArrayBuffer>): string {
  const lines = toBase85(brotliCompressSync(bytes, compression)).match(/.{1,4000}/g) ?? [];
  return `${header}export const image: string = \`\n${lines.join("\n")}\n\`;\n`;
}

/** The manifest with one record per line. The list of a kernel's fields and equal lists of kernels are written once. */
function manifestModule(described: Readonly<Record<string, Image>>): string {
  const names = new Map<string, string>();
  const declarations: string[] = [];
  const shared = (text: string, type: string, prefix: string) => {
    const name = names.get(text) ?? `${prefix}${names.size}`;
    if (!names.has(text)) declarations.push(`const ${name}: ${type} = ${text};`);
    names.set(text, name);
    return name;
  };
  const line = (value: unknown) => JSON.stringify(value);
  const lists = Object.entries(described).map(([name, { kernels, ...image }]) => {
    const records = kernels.map(({ fields, ...record }) =>
      `  { ...${line(record)}, fields: ${shared(line(fields), "readonly ArgumentField[]", "fields")} },`
    );
    const list = shared(`[\n${records.join("\n")}\n]`, "readonly KernelRecord[]", "kernels");
    return `    ${name}: { ...${line(image)}, kernels: ${list} },`;
  });
  return [
    `${header}import type { ArgumentField, KernelRecord, Manifest } from "../manifest_types.ts";\n`,
    ...declarations,
    `\nexport const manifest: Manifest = {`,
    `  nvcc: ${line(nvccVersion)},`,
    `  flags: ${line(flags)},`,
    "  images: {",
    ...lists,
    "  },",
    "};\n",
  ].join("\n");
}

async function main(): Promise<void> {
  const stale = await staleImages();
  console.error(stale.length > 0 ? `Building ${stale.join(", ")}` : "All images are up to date");
  const version = (await nvcc("--version")).match(/release [\d.]+, V([\d.]+)/)?.[1];
  if (version !== nvccVersion) throw new Error(`Cannot build the images: expected nvcc ${nvccVersion}, got ${version}`);
  const built = await buildCubins(stale);
  await Deno.mkdir(target, { recursive: true });
  for (const [name, { bytes }] of built) await Deno.writeTextFile(new URL(`${name}.ts`, target), imageModule(bytes));
  const described = Object.fromEntries(
    Object.keys(images).map((name) => {
      const description = built.get(name)?.description ?? current.images[name];
      if (!description) throw new Error(`Cannot find the description of ${name}`);
      return [name, description];
    }),
  );
  await Deno.writeTextFile(new URL("manifest.ts", target), manifestModule(described));
}

if (import.meta.main) await main();
