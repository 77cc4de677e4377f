// Builds the emulator for an architecture and a set of kernel files, and keeps what it built under a digest of everything that
// went in.
import { toolkit } from "../toolkit.ts";

/** What to build. */
export interface EmulatorOptions {
  /** 10 · major + minor of the emulated GPU. */
  readonly arch: number;
  /** Kernel files, absolute paths. */
  readonly sources: readonly string[];
  /** Texts to compile in the place of some of the sources, by path: a mutation. */
  readonly replaced?: Readonly<Record<string, string>>;
  /** Whether kernels are compiled with checks, which needs clang. Defaults to whether clang is here. */
  readonly checked?: boolean;
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

const common = ["-std=c++17", "-O2", "-g", "-fPIC", "-fvisibility=hidden", "-mavx2", "-mfma", "-mf16c"];
const hooks = [
  "-fsanitize=thread",
  ...["-mllvm", "-tsan-instrument-func-entry-exit=0"],
  ...["-mllvm", "-tsan-instrument-read-before-write=1"],
];

/**
 * Builds an emulator, or finds it built.
 *
 * @throws {Error} If a compiler fails; its output is the message.
 */
export async function buildEmulator(
  { arch, sources, replaced = {}, checked = clang !== undefined }: EmulatorOptions,
): Promise<Emulator> {
  if (!toolkit) throw new Error("Cannot build the emulator: the CUDA toolkit is missing");
  const include = [`-I${here}include`, `-I${here}`, `-isystem${toolkit.include}`];
  const defines = [`-DEMULATED_ARCHITECTURE=${arch}`, ...(checked ? ["-DEMULATOR_CHECKED"] : [])];
  const headers = await digestOf(await filesIn(here, /\.h$/), await filesIn(`${here}include/`, /\.cuh$/));

  const runtime = (await filesIn(here, /\.cpp$/)).map((file) => async () => {
    const flags = [...common, "-Wall", "-Wextra", ...defines, ...include];
    const object = `${output}objects/${await digestOf([file], headers, flags)}.o`;
    await once(object, (path) => run("g++", ...flags, "-c", file, "-o", path));
    return object;
  });
  const kernels = sources.map((source) => async () => {
    const kernelFlags = [
      ...common,
      ...(checked ? hooks : []),
      ...["-Wno-unknown-pragmas", "-Wno-attributes", "-Wno-unused-function"],
      ...[`-D__CUDA_ARCH__=${arch}0`, "-include", `${here}prelude.h`, ...include],
    ];
    const texts = [...await textsOf(source, replaced)].map((text) => `text ${text}`);
    const object = `${output}objects/${await digestOf(texts, headers, kernelFlags)}.o`;
    await once(object, (path) => compileKernels(source, replaced, path, checked ? clang! : "g++", kernelFlags));
    return object;
  });

  const objects = await inPairs([...kernels, ...runtime]);
  const folder = `${output}${await digestOf(objects.map((object) => object.slice(output.length)))}/`;
  const library = `${folder}libcuda.so.1`;
  // libc is named, so that a symbol of it can be looked up through this library, as through the real one.
  await once(
    library,
    (path) => run("g++", "-shared", "-Wl,-soname,libcuda.so.1", "-o", path, ...objects, "-lc", "-ldl"),
  );
  const own = await ownCopy(library);
  return { library: own, folder: own.slice(0, own.lastIndexOf("/") + 1), checked };
}

const copies = new Map<string, Promise<string>>();
const temporaryFolders: string[] = [];
addEventListener("unload", () => {
  for (const folder of temporaryFolders) {
    try {
      Deno.removeSync(folder, { recursive: true });
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error; // the mutation job removes its own
    }
  }
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
    (path) => run("nvcc", "-std=c++17", "-cubin", `-arch=sm_${arch}`, `-I${include}`, "-o", path, source),
  );
  return await Deno.readFile(cubin);
}

/** Compiles a kernel file with the registration of the kernels that are found in it. */
async function compileKernels(
  source: string,
  replaced: Readonly<Record<string, string>>,
  object: string,
  compiler: string,
  flags: readonly string[],
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    // The file and its neighbours, some of them replaced: quoted includes look beside the file that has them.
    const original = source.slice(0, source.lastIndexOf("/") + 1);
    for (const file of await filesIn(original, /\.cuh?$/)) {
      if (file.endsWith("/ptx.cuh")) continue;
      await Deno.writeTextFile(
        folder + file.slice(original.length - 1),
        replaced[file] ?? await Deno.readTextFile(file),
      );
    }
    const copy = folder + source.slice(original.length - 1);
    const text = await run(compiler, ...flags, "-x", "c++", "-E", "-P", copy);
    const names = [...text.matchAll(/annotate\("emulated kernel"\)\)\)\s+void\s+(\w+)\s*\(/g)].map(([, name]) => name!);
    if (names.length === 0) throw new Error(`Cannot find a kernel in ${source}`);
    const registrations = names.map((name) =>
      `emulator::register_kernel("${name}", emulator::Entry<${name}>::invoke, emulator::Entry<${name}>::sizes, ` +
      `emulator::Entry<${name}>::count);`
    );
    const unit = `${folder}/unit.cpp`;
    const start = `__attribute__((constructor)) static void emulator_register() {\n${registrations.join("\n")}\n}\n`;
    await Deno.writeTextFile(unit, `#include "${copy}"\n${start}`);
    await run(compiler, ...flags, "-c", unit, "-o", object);
    const renamed = ["memcpy", "memset"].flatMap((name) => ["--redefine-sym", `${name}=emulator_${name}`]);
    await run("objcopy", ...renamed, object);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
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

/** The texts of a file and of all that it includes from beside it. */
async function textsOf(file: string, replaced: Readonly<Record<string, string>>): Promise<Iterable<string>> {
  const texts = new Map<string, string>();
  const add = async (file: string) => {
    if (texts.has(file)) return;
    const text = replaced[file] ?? await Deno.readTextFile(file);
    texts.set(file, text);
    const folder = file.slice(0, file.lastIndexOf("/") + 1);
    for (const [, name] of text.matchAll(/^#include "(.+)"/gm)) await add(folder + name);
  };
  await add(file);
  return texts.values();
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
