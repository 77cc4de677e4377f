// Builds the emulator for an architecture and a set of kernel files. Outputs are cached under a digest of all their inputs.
import { toolkit } from "../toolkit.ts";
import { inPairs, once } from "./once.ts";

/** The emulator to build. */
export interface EmulatorOptions {
  /** 10 · major + minor of the emulated GPU. */
  readonly arch: number;
  /** Absolute paths of the kernel files. */
  readonly sources: readonly string[];
  /** Whether to compile the kernels with checks, which needs clang. Defaults to whether clang is installed. */
  readonly checked?: boolean;
  /**
   * Whether to optimize the kernels and keep the line numbers for reports. Otherwise they compile in a thirtieth of the time and
   * run a little slower. Defaults to true.
   */
  readonly optimized?: boolean;
}

/** A built emulator. Every test file gets its own copy. */
export interface Emulator {
  /** The path of its libcuda.so.1. */
  readonly library: string;
  /** The folder of the library, for LD_LIBRARY_PATH. */
  readonly folder: string;
  /** Whether the kernels were compiled with checks. */
  readonly checked: boolean;
}

const here = new URL("./", import.meta.url).pathname;
const output = `${here}build/`;

/** The compiler that calls hooks before loads and stores, if it is installed. */
export const clang: string | undefined = ["clang++", "clang++-14"].find((name) => {
  try {
    return new Deno.Command(name, { args: ["--version"], stdout: "null", stderr: "null" }).outputSync().success;
  } catch {
    return false; // not installed
  }
});

// Arithmetic on null pointers is undefined in C++. It must behave as on the device.
const common = [
  "-std=c++17",
  "-fno-delete-null-pointer-checks",
  "-fPIC",
  "-fvisibility=hidden",
  "-mavx2",
  "-mfma",
  "-mf16c",
];
const hooks = [
  ...["-fsanitize=thread,bounds,integer-divide-by-zero", "-fno-sanitize-recover=bounds,integer-divide-by-zero"],
  ...["-mllvm", "-tsan-instrument-func-entry-exit=0"],
  ...["-mllvm", "-tsan-instrument-read-before-write=1"],
  "-mprefer-vector-width=128", // wider accesses are not checked
];

/** Returns the compiler and the flags of an emulator. */
function settings({ arch, checked = clang !== undefined, optimized = true }: EmulatorOptions) {
  if (!toolkit) throw new Error("Cannot build the emulator: the CUDA toolkit is missing");
  const include = [`-I${here}include`, `-I${here}`, `-isystem${toolkit.include}`];
  return {
    checked,
    compiler: checked ? clang! : "g++",
    runtimeFlags: [...common, "-O2", "-g", "-Wall", "-Wextra", ...include],
    deviceFlags: [`-DEMULATED_ARCHITECTURE=${arch}`, ...(checked ? ["-DEMULATOR_CHECKED"] : [])],
    kernelFlags: [
      ...common,
      ...(optimized ? ["-O2", "-g1"] : ["-O0"]), // reports need lines, but not variables
      ...(checked ? hooks : []),
      ...["-Wno-unknown-pragmas", "-Wno-attributes", "-Wno-unused-function"],
      ...[`-D__CUDA_ARCH__=${arch}0`, ...(arch === 90 ? ["-D__CUDA_ARCH_FEAT_SM90_ALL"] : []), ...include],
    ],
  };
}

/** Returns a digest of the emulator's own headers. */
async function headersDigest(): Promise<string> {
  return await digestOf(await filesIn(here, /\.h$/), await filesIn(`${here}include/`, /\.cuh$/));
}

/**
 * Builds an emulator, or returns the cached one.
 *
 * @throws {Error} If a compiler fails. The message is its output.
 */
export async function buildEmulator(options: EmulatorOptions): Promise<Emulator> {
  const { checked } = settings(options);
  const objects = await inPairs([
    ...options.sources.map((source) => () => kernelObject(source, options)),
    () => runtimeObject(options),
    () => deviceObject(options),
  ]);
  const folder = `${output}${await digestOf(objects.map((object) => object.slice(output.length)))}/`;
  const library = `${folder}libcuda.so.1`;
  await once(library, (path) => link(path, objects));
  const own = await ownCopy(library);
  return { library: own, folder: own.slice(0, own.lastIndexOf("/") + 1), checked };
}

/** A replacement for the text of a kernel file. */
export interface Replacement {
  readonly path: string;
  readonly text: string;
}

/**
 * Builds a mutant: an emulator that is not optimized, with one file replaced. Compiles only the kernel files that include the
 * file, and caches nothing.
 *
 * @param folder An empty folder for the outputs.
 * @returns The path of the library, or undefined if the mutant does not compile.
 */
export async function buildMutant(
  options: EmulatorOptions,
  { path, text }: Replacement,
  folder: string,
): Promise<string | undefined> {
  const quick = { ...options, optimized: false };
  const { compiler, kernelFlags } = settings(quick);
  const flags = [...kernelFlags, ...await precompiledPrelude(quick)];
  const objects = [await runtimeObject(quick), await deviceObject(quick)];
  for (const source of options.sources) {
    const files = await filesOf(source);
    if (!files.has(path)) {
      objects.push(await kernelObject(source, quick));
      continue;
    }
    // A quoted include is looked up beside the including file, so copy the neighbours too.
    for (const [file, original] of files) {
      await Deno.writeTextFile(`${folder}/${baseName(file)}`, file === path ? text : original);
    }
    const copy = `${folder}/${baseName(source)}`;
    try {
      await compileKernels(copy, await kernelNames(source, quick), `${copy}.o`, compiler, flags);
    } catch (error) {
      if (error instanceof Error && error.message.includes(" error: ")) return undefined;
      throw error; // not an error in the mutant
    }
    objects.push(`${copy}.o`);
  }
  const library = `${folder}/libcuda.so.1`;
  await link(library, objects);
  return library;
}

/** The only file of the emulator that depends on the emulated architecture, and on whether kernels are checked. */
const deviceFile = `${here}driver_device.cpp`;

/**
 * Compiles the rest of the emulator to one object, unless it is cached. Every access of a kernel calls functions of several
 * files, so they are optimized together.
 */
async function runtimeObject(options: EmulatorOptions): Promise<string> {
  const flags = [...settings(options).runtimeFlags, "-flto"];
  const files = [...await filesIn(here, /\.cpp$/), ...await filesIn(`${here}nccl/`, /\.cpp$/)];
  const others = files.filter((file) => file !== deviceFile);
  const objects = await inPairs(others.map((file) => () => emulatorObject(file, flags)));
  const whole = `${output}objects/${await digestOf(objects.map((object) => object.slice(output.length)))}.o`;
  await once(whole, (path) => run("g++", ...flags, "-r", "-flinker-output=nolto-rel", "-o", path, ...objects));
  return whole;
}

/** Compiles the emulated device, unless it is cached. */
async function deviceObject(options: EmulatorOptions): Promise<string> {
  const { runtimeFlags, deviceFlags } = settings(options);
  return await emulatorObject(deviceFile, [...runtimeFlags, ...deviceFlags]);
}

/** Compiles a file of the emulator, unless it is cached. */
async function emulatorObject(file: string, flags: readonly string[]): Promise<string> {
  const object = `${output}objects/${await digestOf([file], await headersDigest(), flags)}.o`;
  await once(object, (path) => run("g++", ...flags, "-c", file, "-o", path));
  return object;
}

/** Compiles a kernel file, unless it is cached. */
async function kernelObject(source: string, options: EmulatorOptions): Promise<string> {
  const { compiler, kernelFlags } = settings(options);
  const texts = [...(await filesOf(source)).values()].map((text) => `text ${text}`);
  const object = `${output}objects/${await digestOf(texts, await headersDigest(), kernelFlags)}.o`;
  await once(object, async (path) => {
    await compileKernels(source, await kernelNames(source, options), path, compiler, [
      ...kernelFlags,
      ...await precompiledPrelude(options),
    ]);
  });
  return object;
}

const prelude = `${here}prelude.h`;

/** Returns the flags that include the precompiled prelude. Parsing CUDA's headers takes longer than most kernel files. */
async function precompiledPrelude(options: EmulatorOptions): Promise<readonly string[]> {
  const { checked, compiler, kernelFlags } = settings(options);
  if (!checked) return ["-include", prelude]; // g++ is not faster with a precompiled one
  const flag = "-fpch-validate-input-files-content"; // a checkout changes the times of the headers, but not their contents
  const version = await run(compiler, "--version");
  const header = `${output}objects/${await digestOf(version, await headersDigest(), kernelFlags)}.pch`;
  await once(header, (path) => run(compiler, ...kernelFlags, flag, "-x", "c++-header", prelude, "-o", path));
  return [flag, "-include-pch", header];
}

/** Links a library. It names libc, so that a libc symbol can be looked up through it, as through the real driver. */
async function link(library: string, objects: readonly string[]): Promise<void> {
  await run("g++", "-shared", "-Wl,-soname,libcuda.so.1", "-o", library, ...objects, "-lc", "-ldl");
}

const copies = new Map<string, Promise<string>>();
const temporaryFolders: string[] = [];
addEventListener("unload", () => {
  for (const folder of temporaryFolders) Deno.removeSync(folder, { recursive: true });
});

/**
 * Copies a library for this test file alone. Test files run on threads of one process, and a path that is opened twice is loaded
 * once: two files would share one emulated GPU.
 */
function ownCopy(library: string): Promise<string> {
  const copy = async () => {
    const folder = await Deno.makeTempDir({ prefix: "yamoe-emulator-" });
    temporaryFolders.push(folder);
    await Deno.copyFile(library, `${folder}/libcuda.so.1`);
    await Deno.symlink("libcuda.so.1", `${folder}/libnccl.so.2`); // the same library, so both have one emulated GPU
    return `${folder}/libcuda.so.1`;
  };
  const known = copies.get(library) ?? copy();
  copies.set(library, known);
  return known;
}

/** Compiles a kernel file with nvcc, with the flags of the product's kernels. */
export async function buildCubin(source: string, arch: number): Promise<Uint8Array<ArrayBuffer>> {
  const include = new URL("../../cuda/", import.meta.url).pathname;
  const headers = await digestOf(await filesIn(include, /\.cuh$/));
  const cubin = `${output}cubins/${await digestOf([source], headers, `${arch}`)}.cubin`;
  await once(
    cubin,
    (path) =>
      run(
        "nvcc",
        "-std=c++17",
        "-cubin",
        `-arch=sm_${arch}${arch === 90 ? "a" : ""}`,
        `-I${include}`,
        "-o",
        path,
        source,
      ),
  );
  return await Deno.readFile(cubin);
}

/** Compiles a kernel file, together with code that registers its kernels. */
async function compileKernels(
  source: string,
  kernels: readonly string[],
  object: string,
  compiler: string,
  flags: readonly string[],
): Promise<void> {
  const registrations = kernels.map((name) =>
    `emulator::register_kernel("${name}", emulator::Entry<${name}>::invoke, emulator::Entry<${name}>::sizes, ` +
    `emulator::Entry<${name}>::count);`
  );
  const start = `__attribute__((constructor)) static void emulator_register() {\n${registrations.join("\n")}\n}\n`;
  const unit = `${object}.cpp`;
  try {
    await Deno.writeTextFile(unit, `#include "${source}"\n${start}`);
    await run(compiler, ...flags, "-c", unit, "-o", object);
  } finally {
    await Deno.remove(unit);
  }
  const renamed = ["memcpy", "memset"].flatMap((name) => ["--redefine-sym", `${name}=emulator_${name}`]);
  await run("objcopy", ...renamed, object);
}

const knownNames = new Map<string, Promise<readonly string[]>>();

/** Returns the names of a file's kernels. */
export function kernelNames(source: string, options: EmulatorOptions): Promise<readonly string[]> {
  const { compiler, kernelFlags } = settings(options);
  const find = async () => {
    const text = await run(compiler, ...kernelFlags, "-include", prelude, "-x", "c++", "-E", "-P", source);
    const names = [...text.matchAll(/annotate\("emulated kernel"\)\)\)\s+void\s+(\w+)\s*\(/g)].map(([, name]) => name!);
    if (names.length === 0) throw new Error(`Cannot find a kernel in ${source}`);
    return names;
  };
  const key = `${options.arch} ${source}`;
  const known = knownNames.get(key) ?? find();
  knownNames.set(key, known);
  return known;
}

/** Returns a file and all files that it includes with quotes: their texts by path. */
export async function filesOf(file: string): Promise<ReadonlyMap<string, string>> {
  const texts = new Map<string, string>();
  const add = async (file: string) => {
    if (texts.has(file)) return;
    const text = await Deno.readTextFile(file);
    texts.set(file, text);
    const folder = file.slice(0, file.lastIndexOf("/") + 1);
    for (const [, name] of text.matchAll(/^#include "(.+)"/gm)) await add(folder + name);
  };
  await add(file);
  return texts;
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

async function filesIn(folder: string, names: RegExp): Promise<string[]> {
  const files = [];
  for await (const { name } of Deno.readDir(folder)) if (names.test(name)) files.push(folder + name);
  return files.sort();
}

/** Returns a digest of texts. A text that begins with a slash is a path, and means the contents of the file. */
async function digestOf(...parts: (string | readonly string[])[]): Promise<string> {
  const texts = await Promise.all(parts.flat().map((part) => part.startsWith("/") ? Deno.readTextFile(part) : part));
  const bytes = new TextEncoder().encode(texts.join("\0"));
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex().slice(0, 24);
}

async function run(command: string, ...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args }).output();
  if (!success) throw new Error(`${command} ${args.join(" ")} failed:\n${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout);
}
