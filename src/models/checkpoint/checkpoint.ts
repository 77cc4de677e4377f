// A model's tensors, in one safetensors file or in several with an index. Files are opened on demand.
import { SafetensorsError } from "../../safetensors/error.ts";
import { quote } from "../../text.ts";
import type { StoredTensor } from "../../safetensors/header.ts";
import { describeFile } from "../../safetensors/describe_file.ts";
import { JsonScanner } from "../../safetensors/json_scanner.ts";
import { Safetensors } from "../../safetensors/safetensors.ts";
import { parseConfigJson } from "./config_json.ts";

const indexName = "model.safetensors.index.json";
const singleName = "model.safetensors";
const configName = "config.json";

/** The largest index or configuration that is read. */
const maxJsonBytes = 100_000_000;

/** The tensors of one or more files. */
export class Checkpoint implements Disposable {
  /** The path of the file or the index, or of the directory of several files without an index. */
  readonly path: string;
  /** The path of the directory with a slash at its end, or "" for the working directory. */
  readonly #directory: string;
  /** The file of each tensor, by the tensor's name. */
  readonly #files: ReadonlyMap<string, string>;
  readonly #open = new Map<string, Safetensors>();
  /** The files that are being opened. */
  readonly #opening = new Map<string, Promise<Safetensors>>();
  #isClosed = false;

  private constructor(path: string, files: ReadonlyMap<string, string>) {
    this.path = path;
    this.#directory = directoryOf(path);
    this.#files = files;
  }

  /**
   * Opens a checkpoint.
   *
   * @param path A safetensors file, an index, or a directory with an index, one file, or all shards of a model.
   * @throws {SafetensorsError} If the path is none of these, or a file is malformed.
   */
  static async open(path: string): Promise<Checkpoint> {
    const paths = (await Deno.stat(path)).isDirectory ? await weightsIn(path) : [path];
    const [first = path] = paths;
    if (first.endsWith(".json")) return new Checkpoint(first, parseIndex(first, await readText(first)));
    using scope = new DisposableStack();
    const files = new Map<string, string>();
    const checkpoint = scope.use(new Checkpoint(paths.length > 1 ? directoryOf(first) : first, files));
    for (const path of paths) {
      const file = await Safetensors.open(path), name = fileOf(path);
      checkpoint.#open.set(name, file);
      for (const tensor of file.tensors.keys()) {
        const other = files.get(tensor);
        if (other !== undefined) {
          throw new SafetensorsError(`${path}: tensor ${quote(tensor)} is in ${quote(other)} too`);
        }
        files.set(tensor, name);
      }
    }
    scope.move();
    return checkpoint;
  }

  /** The names of all tensors. */
  get names(): Iterable<string> {
    return this.#files.keys();
  }

  /** The paths of all files that are read: config.json, the index if it exists, and the files of the tensors. */
  get files(): readonly string[] {
    const names = new Set([configName, fileOf(this.path), ...this.#files.values()]);
    return Array.from(names, (name) => this.#directory + name);
  }

  /** Returns whether a tensor exists. */
  has(name: string): boolean {
    return this.#files.has(name);
  }

  /**
   * Describes a tensor. Opens and checks its file.
   *
   * @throws {SafetensorsError} If the tensor does not exist, or its file is malformed.
   */
  describe(name: string): StoredTensor | Promise<StoredTensor> {
    return this.#opened(name)?.describe(name) ?? this.#fileOf(name).then((file) => file.describe(name));
  }

  /** Reads bytes of a tensor, as {@linkcode Safetensors.readBytes} does. */
  readBytes(name: string, target: Uint8Array, start = 0): Promise<void> {
    return this.#opened(name)?.readBytes(name, target, start) ??
      this.#fileOf(name).then((file) => file.readBytes(name, target, start));
  }

  /** Reads the config.json beside the tensors. Returns undefined if it does not exist. */
  async config(): Promise<{ readonly path: string; readonly value: unknown } | undefined> {
    const path = this.#directory + configName;
    let text;
    try {
      text = await readText(path);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw error;
    }
    try {
      return { path, value: parseConfigJson(text) };
    } catch {
      throw new SafetensorsError(
        `${path}: expected JSON, got ${describeFile(new TextEncoder().encode(text)) ?? "other text"}`,
      );
    }
  }

  /** Returns the file of a tensor if it is open. Most calls need no promise for it. */
  #opened(name: string): Safetensors | undefined {
    return this.#open.get(this.#files.get(name) ?? "");
  }

  /** Returns the file of a tensor. Concurrent calls open it once. */
  async #fileOf(name: string): Promise<Safetensors> {
    const fileName = this.#files.get(name);
    if (fileName === undefined) throw new SafetensorsError(`${this.path}: found no tensor ${quote(name)}`);
    let opening = this.#opening.get(fileName);
    if (!opening) {
      opening = this.#openFile(fileName).finally(() => this.#opening.delete(fileName));
      this.#opening.set(fileName, opening);
    }
    try {
      return await opening;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
      throw new SafetensorsError(
        `${this.path}: tensor ${
          quote(name)
        } must be in ${this.#directory}${fileName}, which does not exist: the download is not complete`,
      );
    }
  }

  async #openFile(name: string): Promise<Safetensors> {
    using scope = new DisposableStack();
    const file = scope.use(await Safetensors.open(this.#directory + name));
    if (this.#isClosed) throw new SafetensorsError(`${this.path}: the checkpoint was closed while a file was opened`);
    this.#open.set(name, file);
    scope.move();
    return file;
  }

  /** Closes all files. */
  [Symbol.dispose](): void {
    this.#isClosed = true;
    for (const file of this.#open.values()) file[Symbol.dispose]();
    this.#open.clear();
  }
}

/** Finds the index of a directory, its only safetensors file, or all shards of its model. */
async function weightsIn(directory: string): Promise<string[]> {
  const prefix = directory.endsWith("/") ? directory : `${directory}/`;
  for (const name of [indexName, singleName]) {
    if (await exists(prefix + name)) return [prefix + name];
  }
  const weights = (await Array.fromAsync(Deno.readDir(directory), ({ name }) => name)).filter(isWeightFile).sort();
  const indices = weights.filter((name) => /\.safetensors\.index\b.*\.json$/.test(name));
  const pathsOf = async (names: readonly string[]) => {
    const paths = names.map((name) => prefix + name);
    for (const path of paths) await exists(path); // refuses a link to a missing file
    return paths;
  };
  if (indices.length === 1) return await pathsOf(indices);
  const models = Map.groupBy(weights.filter((name) => name.endsWith(".safetensors")), modelOf);
  const [shards] = models.values();
  if (shards && models.size === 1 && indices.length === 0) {
    checkShards(directory, shards);
    return await pathsOf(shards);
  }
  throw new SafetensorsError(
    `${directory}: expected a ${indexName} or a ${singleName}, got ` +
      (weights.length === 0
        ? "neither"
        : weights.slice(0, 3).map(quote).join(", ") + (weights.length > 3 ? ", …" : "")),
  );
}

const shardPattern = /-(\d+)-of-(\d+)(?=\.safetensors$)/;

/** Returns the name of a shard without its number. */
function modelOf(name: string): string {
  return name.replace(shardPattern, "-of-$2");
}

/**
 * Checks that all shards of a model are present. They are numbered from 1, or from 0.
 *
 * @throws {SafetensorsError} If one is missing, or there are too many. The message names the first missing ones.
 */
function checkShards(directory: string, names: readonly string[]): void {
  const matches = names.map((name) => name.match(shardPattern));
  const expected = Number(matches[0]?.[2] ?? 1);
  const numbers = new Set(matches.map((match) => Number(match?.[1] ?? 1)));
  const first = numbers.has(0) ? 0 : 1;
  const missing: number[] = [];
  for (let i = first; i < first + expected && missing.length < 4; i++) if (!numbers.has(i)) missing.push(i);
  if (missing.length === 0 && names.length === expected) return;
  const list = missing.length === 4 ? [...missing.slice(0, 3), "…"] : missing;
  const problem = missing.length > 0 ? `: the download is not complete; missing shards: ${list.join(", ")}` : "";
  throw new SafetensorsError(`${directory}: expected ${expected} shards, got ${names.length}${problem}`);
}

/**
 * Returns whether a file exists.
 *
 * @throws {SafetensorsError} If the path is a link to a file that does not exist, as an incomplete cache of Hugging Face has.
 */
async function exists(path: string): Promise<boolean> {
  const isMissing = (error: unknown) => {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  };
  if (await Deno.stat(path).catch(isMissing)) return true;
  if (await Deno.lstat(path).catch(isMissing)) {
    throw new SafetensorsError(`${path}: the file that the link leads to does not exist`);
  }
  return false;
}

/** Returns whether a name is that of a file of weights, in whatever format. */
function isWeightFile(name: string): boolean {
  return /\.(?:safetensors|gguf|bin|pt|pth|ckpt|npz|h5|msgpack)(?:\.index\b.*\.json)?$/.test(name);
}

/** Reads the file of each tensor from an index: `{ "weight_map": { tensor: file, … }, … }`. */
function parseIndex(path: string, text: string): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  const foreign = /^\s*\{/.test(text) ? undefined : describeFile(new TextEncoder().encode(text.slice(0, 64)));
  if (foreign) throw new SafetensorsError(`${path}: expected an index of safetensors files, got ${foreign}`);
  const scanner = new JsonScanner(text, (message) => new SafetensorsError(`${path}: ${message}`));
  let found = false;
  scanner.object((key) => {
    if (key !== "weight_map") return scanner.skip();
    found = true;
    scanner.object((tensor) => {
      const file = scanner.string();
      if (!/^[^/\\:]+$/.test(file) || /^\.+$/.test(file)) {
        throw new SafetensorsError(
          `${path}: the file of tensor ${quote(tensor)} must be in the same directory, got ${quote(file)}`,
        );
      }
      files.set(tensor, file);
    });
  });
  scanner.end();
  if (!found) throw new SafetensorsError(`${path}: expected a weight_map`);
  return files;
}

async function readText(path: string): Promise<string> {
  const { isFile, isDirectory, size } = await Deno.stat(path);
  if (!isFile) {
    throw new SafetensorsError(`${path}: expected a file, got ${isDirectory ? "a directory" : "a pipe or device"}`);
  }
  if (size > maxJsonBytes) {
    throw new SafetensorsError(`${path}: expected at most ${maxJsonBytes} bytes, got ${size}`);
  }
  return (await Deno.readTextFile(path)).replace(/^\ufeff/, ""); // a byte order mark
}

function directoryOf(path: string): string {
  return path.slice(0, path.length - fileOf(path).length);
}

function fileOf(path: string): string {
  return path.slice(Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")) + 1);
}
