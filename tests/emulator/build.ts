// Builds the emulator for an architecture and a set of kernel files, and keeps what it built under a digest of everything that
// went in.
import { toolkit } from "../toolkit.ts";

/** What to build. */
export interface EmulatorOptions {
  /** 10 · major + minor of the emulated GPU. */
  readonly arch: number;
  /** Kernel files, absolute paths. */
  readonly sources: readonly string[];
  /** Whether kernels are compiled with checks, which needs clang. Defaults to whether clang is here. */
  readonly checked?: boolean;
  /**
   * Whether kernels are compiled for speed, and with the lines that reports name. Without, they compile in a thirtieth of the
   * time, and take a bit longer to run.
   */
  readonly optimized?: boolean;
}

/** A built emulator, of this test file's own. */
export interface Emulator {
  /** The stand-in for libcuda.so.1. */
  readonly library: string;
  /** The folder it lies in: for LD_LIBRARY_PATH. */
  readonly folder: string;
  readonly checked: boolean;
}

const here = new URL("./", import.meta.url).pathname;
const output = `${here}build/`;

/** The compiler that puts hooks in front of loads and stores. */
export const clang: string | undefined = ["clang++", "clang++-14"].find((name) => {
  try {
    return new Deno.Command(name, { args: ["--version"], stdout: "null", stderr: "null" }).outputSync().success;
  } catch {
    return false; // not installed
  }
});

// Arithmetic with a null pointer must come out as on the device, whatever the language makes of it.
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
];

/** Compilers and flags of an emulator. */
function settings({ arch, checked = clang !== undefined, optimized = true }: EmulatorOptions) {
  if (!toolkit) throw new Error("Cannot build the emulator: the CUDA toolkit is missing");
  const include = [`-I${here}include`, `-I${here}`, `-isystem${toolkit.include}`];
  const defines = [`-DEMULATED_ARCHITECTURE=${arch}`, ...(checked ? ["-DEMULATOR_CHECKED"] : [])];
  return {
    checked,
    compiler: checked ? clang! : "g++",
    runtimeFlags: [...common, "-O2", "-g", "-Wall", "-Wextra", ...defines, ...include],
    kernelFlags: [
      ...common,
      ...(optimized ? ["-O2", "-g"] : ["-O0"]),
      ...(checked ? hooks : []),
      ...["-Wno-unknown-pragmas", "-Wno-attributes", "-Wno-unused-function"],
      ...[`-D__CUDA_ARCH__=${arch}0`, ...(arch === 90 ? ["-D__CUDA_ARCH_FEAT_SM90_ALL"] : []), ...include],
    ],
  };
}

/** A digest of the emulator's own headers. */
async function headersDigest(): Promise<string> {
  return await digestOf(await filesIn(here, /\.h$/), await filesIn(`${here}include/`, /\.cuh$/));
}

/**
 * Builds an emulator, or finds it built.
 *
 * @throws {Error} If a compiler fails; its output is the message.
 */
export async function buildEmulator(options: EmulatorOptions): Promise<Emulator> {
  const { checked } = settings(options);
  const objects = await inPairs([
    ...options.sources.map((source) => () => kernelObject(source, options)),
    ...await runtimeTasks(options),
  ]);
  const folder = `${output}${await digestOf(objects.map((object) => object.slice(output.length)))}/`;
  const library = `${folder}libcuda.so.1`;
  await once(library, (path) => link(path, objects));
  const own = await ownCopy(library);
  return { library: own, folder: own.slice(0, own.lastIndexOf("/") + 1), checked };
}

/** A file of the kernels with another text. */
export interface Replacement {
  readonly path: string;
  readonly text: string;
}

/**
 * Builds a mutant: an emulator, not optimized, with a file replaced. Only the kernel files that have it are compiled, and
 * nothing is kept.
 *
 * @param folder Where to. An empty folder.
 * @returns The library, or undefined if the mutant does not compile.
 */
export async function buildMutant(
  options: EmulatorOptions,
  { path, text }: Replacement,
  folder: string,
): Promise<string | undefined> {
  const quick = { ...options, optimized: false };
  const { compiler, kernelFlags } = settings(quick);
  const flags = [...kernelFlags, ...await precompiledPrelude(quick)];
  const objects = await inPairs(await runtimeTasks(quick));
  for (const source of options.sources) {
    const files = await filesOf(source);
    if (!files.has(path)) {
      objects.push(await kernelObject(source, quick));
      continue;
    }
    // The file and its neighbours: quoted includes look beside the file that has them.
    for (const [file, original] of files) {
      await Deno.writeTextFile(`${folder}/${baseName(file)}`, file === path ? text : original);
    }
    const copy = `${folder}/${baseName(source)}`;
    try {
      await compileKernels(copy, await kernelNames(source, quick), `${copy}.o`, compiler, flags);
    } catch (error) {
      if (error instanceof Error && error.message.includes(" error: ")) return undefined;
      throw error; // not the mutant's fault
    }
    objects.push(`${copy}.o`);
  }
  const library = `${folder}/libcuda.so.1`;
  await link(library, objects);
  return library;
}

/** Tasks that compile the emulator itself, a file each, where it is not compiled yet. */
async function runtimeTasks(options: EmulatorOptions): Promise<(() => Promise<string>)[]> {
  const { runtimeFlags } = settings(options);
  const headers = await headersDigest();
  return (await filesIn(here, /\.cpp$/)).map((file) => async () => {
    const object = `${output}objects/${await digestOf([file], headers, runtimeFlags)}.o`;
    await once(object, (path) => run("g++", ...runtimeFlags, "-c", file, "-o", path));
    return object;
  });
}

/** Compiles a kernel file, unless it is compiled. */
async function kernelObject(source: string, options: EmulatorOptions): Promise<string> {
  const { compiler, kernelFlags } = settings(options);
  const texts = [...(await filesOf(source)).values()].map((text) => `text ${text}`);
  const object = `${output}objects/${await digestOf(texts, await headersDigest(), kernelFlags)}.o`;
  await once(object, async (path) => {
    await compileKernels(source, await kernelNames(source, options), path, compiler, [...kernelFlags, ...prelude]);
  });
  return object;
}

const prelude = ["-include", `${here}prelude.h`];

/** The flags that include the prelude precompiled: parsing CUDA's headers takes longer than most kernel files. */
async function precompiledPrelude(options: EmulatorOptions): Promise<readonly string[]> {
  const { checked, compiler, kernelFlags } = settings(options);
  if (!checked) return prelude; // g++ has another way, and is not used where time matters
  const header = `${output}objects/${await digestOf(await headersDigest(), kernelFlags)}.pch`;
  await once(header, (path) => run(compiler, ...kernelFlags, "-x", "c++-header", `${here}prelude.h`, "-o", path));
  return ["-include-pch", header];
}

/** Links a library. libc is named, so that a symbol of it can be looked up through this library, as through the real one. */
async function link(library: string, objects: readonly string[]): Promise<void> {
  await run("g++", "-shared", "-Wl,-soname,libcuda.so.1", "-o", library, ...objects, "-lc", "-ldl");
}

const copies = new Map<string, Promise<string>>();
const temporaryFolders: string[] = [];
addEventListener("unload", () => {
  for (const folder of temporaryFolders) Deno.removeSync(folder, { recursive: true });
});

/**
 * A copy of a library for this test file alone. Test files run side by side on threads of one process, and a library that is
 * opened twice at one path is there once: one file's emulated GPU would be the other's.
 */
function ownCopy(library: string): Promise<string> {
  const copy = async () => {
    const folder = await Deno.makeTempDir({ prefix: "yamoe-emulator-" });
    temporaryFolders.push(folder);
    await Deno.copyFile(library, `${folder}/libcuda.so.1`);
    return `${folder}/libcuda.so.1`;
  };
  const known = copies.get(library) ?? copy();
  copies.set(library, known);
  return known;
}

/** Compiles a kernel file with nvcc, as the product's are. */
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

/** Compiles a kernel file with the registration of its kernels. */
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

/** The names of a file's kernels. */
export function kernelNames(source: string, options: EmulatorOptions): Promise<readonly string[]> {
  const { compiler, kernelFlags } = settings(options);
  const find = async () => {
    const text = await run(compiler, ...kernelFlags, ...prelude, "-x", "c++", "-E", "-P", source);
    const names = [...text.matchAll(/annotate\("emulated kernel"\)\)\)\s+void\s+(\w+)\s*\(/g)].map(([, name]) => name!);
    if (names.length === 0) throw new Error(`Cannot find a kernel in ${source}`);
    return names;
  };
  const key = `${options.arch} ${source}`;
  const known = knownNames.get(key) ?? find();
  knownNames.set(key, known);
  return known;
}

/** Makes a file unless it is there: under another name first, so that nobody sees half of it. */
async function once(path: string, make: (path: string) => Promise<unknown>): Promise<void> {
  try {
    await Deno.stat(path);
    return;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
  const unfinished = `${path}.${Deno.pid}.${crypto.randomUUID()}`;
  await make(unfinished);
  await Deno.rename(unfinished, path);
}

/** Runs tasks two at a time; the results keep their order. */
async function inPairs<Result>(tasks: readonly (() => Promise<Result>)[]): Promise<Result[]> {
  const results: Result[] = [];
  let next = 0;
  const work = async () => {
    for (let i = next++; i < tasks.length; i = next++) results[i] = await tasks[i]!();
  };
  await Promise.all([work(), work()]);
  return results;
}

/** A file and all that it includes from beside it: texts by path. */
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

/** A digest of texts and of the contents of files, which come as arrays of paths or flags. */
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
