// JSON messages over a TCP connection, one on each line.

/** The longest message in bytes. A stranger's connection must not fill the memory. */
const maximumBytes = 1 << 26;

/** A connection between two ranks. */
export class Connection implements Disposable {
  readonly #socket: Deno.TcpConn;
  #unread = new Uint8Array(0);
  #closed = false;

  /** Takes over a socket. */
  constructor(socket: Deno.TcpConn) {
    this.#socket = socket;
    socket.setNoDelay(true);
  }

  /** Sends a message. */
  async send(message: unknown): Promise<void> {
    let left = new TextEncoder().encode(`${JSON.stringify(message)}\n`);
    while (left.length > 0) left = left.subarray(await this.#socket.write(left));
  }

  /**
   * Waits for a message.
   *
   * @returns The message; undefined if the connection has ended.
   * @throws {SyntaxError} If it is not JSON.
   */
  async receive(): Promise<unknown> {
    const parts: Uint8Array[] = [];
    let length = 0;
    for (;;) {
      const end = this.#unread.indexOf(10);
      parts.push(end < 0 ? this.#unread : this.#unread.subarray(0, end));
      length += parts.at(-1)?.length ?? 0;
      if (length > maximumBytes) throw new SyntaxError("Cannot read a message: it is too long");
      if (end >= 0) {
        this.#unread = this.#unread.subarray(end + 1);
        return JSON.parse(await new Blob(parts as Uint8Array<ArrayBuffer>[]).text());
      }
      const chunk = new Uint8Array(65536);
      const read = await this.#socket.read(chunk).catch(() => null); // a reset ends the connection too
      if (read === null) return undefined;
      this.#unread = chunk.subarray(0, read);
    }
  }

  /** Closes the connection. A second call does nothing. */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.close();
  }
}

/** Proves the knowledge of a secret without sending it. `role` differs by direction, so that a proof cannot be sent back. */
export async function proof(secret: string, nonce: string, role: string): Promise<string> {
  const bytes = (text: string) => new TextEncoder().encode(text);
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", bytes(`yamoe ${secret}`), algorithm, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", key, bytes(`${role} ${nonce}`))).toHex();
}
