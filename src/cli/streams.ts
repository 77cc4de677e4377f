// Writes to standard output and standard error, which may be pipes that do not block.
//
// Deno writes all bytes of a call or fails. It does not report how many bytes a failed call has written, and it keeps those that
// it has buffered. So each call here either is repeated as a whole, or only its buffered bytes are.

/** The wait for a slow reader, in milliseconds. */
const pause = 1;

/** The largest size of a call: Deno's buffer for standard output takes it, and a pipe takes all of it or nothing. */
const pieceBytes = 512;

const newline = "\n".charCodeAt(0);

let muted = false;

/** Makes {@linkcode writeStdout} do nothing from now on: of several ranks, only one prints. */
export function muteStdout(): void {
  muted = true;
}

/** Writes a text to standard output. Waits for a slow reader. */
export function writeStdout(text: string): void {
  if (muted) return;
  const bytes = new TextEncoder().encode(text);
  for (let start = 0, end; start < bytes.length; start = end) {
    const lineEnd = bytes.indexOf(newline, start);
    if (lineEnd === start) {
      end = start + 1;
      const piece = bytes.subarray(start, end);
      while (!wrote(() => Deno.stdout.writeSync(piece))); // a newline is not buffered: repeat it
      continue;
    }
    end = Math.min(lineEnd < 0 ? bytes.length : lineEnd, start + pieceBytes);
    let rest = bytes.subarray(start, end); // a part of a line is buffered: repeat only the flush
    while (!wrote(() => Deno.stdout.writeSync(rest))) rest = rest.subarray(rest.length);
  }
}

/** Writes a text for people to standard error, which Deno does not buffer. A text that cannot be written does not stop the work. */
export function writeStderr(text: string): void {
  const bytes = new TextEncoder().encode(text);
  try {
    for (let start = 0; start < bytes.length; start += pieceBytes) {
      const piece = bytes.subarray(start, start + pieceBytes);
      while (!wrote(() => Deno.stderr.writeSync(piece)));
    }
  } catch {
    // For example, the device is full, or the terminal is closed.
  }
}

/** Returns whether a write succeeded. If it would block, waits a little. */
function wrote(write: () => void): boolean {
  try {
    write();
    return true;
  } catch (error) {
    if (!(error instanceof Deno.errors.WouldBlock)) throw error;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, pause);
    return false;
  }
}
