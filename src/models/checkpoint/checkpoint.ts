// A model's tensors, in one safetensors file or in many with an index. A file is opened when a tensor of it is asked for.
import { SafetensorsError } from "../../safetensors/error.ts";
import { quote } from "../../text.ts";
import type { StoredTensor } from "../../safetensors/header.ts";
import { JsonScanner } from "../../safetensors/json_scanner.ts";
import { Safetensors } from "../../safetensors/safetensors.ts";

const indexName = "model.safetensors.index.json";
const singleName = "model.safetensors";
const configName = "config.json";

/** More than any index or configuration has. */
const maxJsonBytes = 100_000_000;

/** The tensors of one or more files. */
export class Checkpoint implements Disposable {
  /** What it was opened by. */
  readonly path: string;
  /** The directory that it lies in, with a slash at its end; empty for the working directory. */
  readonly #directory: string;
  /** The file of each tensor, by the tensor's name. */
  readonly #files: ReadonlyMap<string, string>;
  readonly #open = new Map<string, Safetensors>();

  private constructor(path: string, files: ReadonlyMap<string, string>, single?: Safetensors) {
    this.path = path;
    this.#directory = directoryOf(path);
    this.#files = files;
    if (single) this.#open.set(fileOf(path), single);
  }

  /**
   * Opens a checkpoint.
   *
   * @param path A safetensors file, an index, or a directory with a `model.safetensors.index.json` or `model.safetensors`.
   * @throws {SafetensorsError} If it is neither, or not as the format says.
   */
  static async open(path: string): Promise<Checkpoint> {
    if ((await Deno.stat(path)).isDirectory) path = await checkpointIn(path);
    if (path.endsWith(".json")) return new Checkpoint(path, parseIndex(path, await readText(path)));
    const file = await Safetensors.open(path);
    return new Checkpoint(path, new Map([...file.tensors.keys()].map((name) => [name, fileOf(path)])), file);
  }

  /** The names of all tensors. */
  get names(): Iterable<string> {
    return this.#files.keys();
  }

  /** Whether there is a tensor of a name. */
  has(name: string): boolean {
    return this.#files.has(name);
  }

  /**
   * Describes a tensor; its file is opened and checked for that.
   *
   * @throws {SafetensorsError} If there is none of that name, or its file is not in order.
   */
  async describe(name: string): Promise<StoredTensor> {
    return (await this.#fileOf(name)).describe(name);
  }

  /** Reads bytes of a tensor, as {@linkcode Safetensors.readBytes} does. */
  async readBytes(name: string, target: Uint8Array, start = 0): Promise<void> {
    await (await this.#fileOf(name)).readBytes(name, target, start);
  }

  /** The model's configuration, from beside the tensors; undefined where there is none. */
  async config(): Promise<{ readonly path: string; readonly json: unknown } | undefined> {
    const path = this.#directory + configName;
    let text;
    try {
      text = await readText(path);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw error;
    }
    try {
      return { path, json: JSON.parse(text) };
    } catch {
      throw new SafetensorsError(`${path}: it must be JSON`);
    }
  }

  async #fileOf(name: string): Promise<Safetensors> {
    const fileName = this.#files.get(name);
    if (fileName === undefined) throw new SafetensorsError(`${this.path}: there is no tensor ${quote(name)}`);
    let file = this.#open.get(fileName);
    if (!file) {
      file = await Safetensors.open(this.#directory + fileName).catch((error) => {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
        throw new SafetensorsError(
          `${this.path}: tensor ${quote(name)} must be in ${this.#directory}${fileName}, there is no such file`,
        );
      });
      this.#open.set(fileName, file);
    }
    return file;
  }

  /** Closes all files. */
  [Symbol.dispose](): void {
    for (const file of this.#open.values()) file[Symbol.dispose]();
    this.#open.clear();
  }
}

async function checkpointIn(directory: string): Promise<string> {
  const prefix = directory.endsWith("/") ? directory : `${directory}/`;
  for (const name of [indexName, singleName]) {
    const found = await Deno.stat(prefix + name).catch((error) => {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    });
    if (found) return prefix + name;
  }
  throw new SafetensorsError(`${directory}: there must be a ${indexName} or a ${singleName}, there is neither`);
}

/** The file of each tensor, from an index: `{ "weight_map": { tensor: file, … }, … }`. */
function parseIndex(path: string, text: string): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  const scanner = new JsonScanner(text, (message) => new SafetensorsError(`${path}: ${message}`));
  let found = false;
  scanner.object((key) => {
    if (key !== "weight_map") return scanner.skip();
    found = true;
    scanner.object((tensor) => {
      const file = scanner.string();
      if (!/^[^/\\:]+$/.test(file) || /^\.+$/.test(file)) {
        throw new SafetensorsError(`${path}: the file of tensor ${quote(tensor)} must lie beside, got ${quote(file)}`);
      }
      files.set(tensor, file);
    });
  });
  scanner.end();
  if (!found) throw new SafetensorsError(`${path}: there must be a weight_map`);
  return files;
}

async function readText(path: string): Promise<string> {
  const { size } = await Deno.stat(path);
  if (size > maxJsonBytes) {
    throw new SafetensorsError(`${path}: it must have at most ${maxJsonBytes} bytes, got ${size}`);
  }
  return await Deno.readTextFile(path);
}

function directoryOf(path: string): string {
  return path.slice(0, path.length - fileOf(path).length);
}

function fileOf(path: string): string {
  return path.slice(Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")) + 1);
}
