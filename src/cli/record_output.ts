// Where records go: standard output and a file.
import type { BenchRecord } from "../bench/figures.ts";
import type { Format, FormatName, Layout } from "../report/format.ts";
import { formatOfFile, openFormat } from "../report/formats.ts";
import { writeData } from "./command.ts";
import { UsageError } from "./usage_error.ts";
import { checkWritable, replaceFile } from "./whole_file.ts";

/** Writes records as they come. Standard output is a complete document after `close`, the file after every record. */
export class RecordOutput {
  readonly #stream: Format | undefined;
  readonly #file: { readonly path: string; readonly format: Format; text: string } | undefined;
  #count = 0;
  #closed = false;

  private constructor(stream: Format | undefined, file: { path: string; format: Format } | undefined) {
    this.#stream = stream;
    this.#file = file && { ...file, text: file.format.head };
    if (stream) writeData(stream.head);
  }

  /**
   * Opens the outputs.
   *
   * @param stream The format for standard output; undefined to print nothing there.
   * @param path The file, written in the format of its extension.
   * @throws {UsageError} If the file cannot be written.
   */
  static open(stream: FormatName | undefined, path: string | undefined, layout: Layout): RecordOutput {
    let file: { path: string; format: Format } | undefined;
    if (path !== undefined) {
      const name = formatOfFile(path);
      if (!name) throw new UsageError(`--output must end in .json, .jsonl, .csv, .sql, .md or .txt, got "${path}"`);
      checkWritable(path);
      file = { path, format: openFormat(name, { ...layout, color: false, width: Infinity }) };
    }
    return new RecordOutput(stream && openFormat(stream, layout), file);
  }

  /** Adds a record. */
  write(record: BenchRecord): void {
    if (this.#stream) writeData(this.#stream.record(record, this.#count));
    if (this.#file) {
      this.#file.text += this.#file.format.record(record, this.#count);
      replaceFile(this.#file.path, this.#file.text + this.#file.format.tail);
    }
    this.#count += 1;
  }

  /** What completes the document on standard output. */
  get tail(): string {
    return this.#stream?.tail ?? "";
  }

  /** Completes the document on standard output. A second call does nothing. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#stream) writeData(this.#stream.tail);
  }
}
