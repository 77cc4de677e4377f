// Standard output and standard error that are slow, closed or full, and signals that end the tool.
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { buildProduct, emulated } from "../cuda/emulated.ts";
import { clang } from "../emulator/build.ts";
import { toolkit } from "../toolkit.ts";
import { hasTerminal, inTerminal } from "./terminal.ts";
import { cli, type Outcome, yamoe } from "./yamoe.ts";

const isLinux = Deno.build.os === "linux";

/** Runs the tool by a shell command, in which "$@" is the tool. */
async function inShell(script: string, permissions: readonly string[], ...args: string[]): Promise<Outcome> {
  const tool = [Deno.execPath(), "run", "--no-prompt", ...permissions, cli, ...args];
  const { code, stdout, stderr } = await new Deno.Command("sh", {
    args: ["-c", script, "sh", ...tool],
    env: { NO_COLOR: "1" },
  }).output();
  return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}

Deno.test({
  name: "a slow reader of a non-blocking standard output gets all data",
  ignore: !isLinux || !hasTerminal,
  async fn() {
    const helper = new URL("./nonblocking.py", import.meta.url).pathname;
    const { code, stdout, stderr } = await inShell(`exec python3 ${helper} "$@"`, [], "presets", "--json");
    assertEquals(code, 0, stderr);
    assertEquals(stdout, (await yamoe(["presets", "--json"])).stdout);
    assert(stdout.length > 8192, "the output fits the pipe");
  },
});

Deno.test({
  name: "a full device at standard error does not lose the result",
  ignore: !isLinux,
  async fn() {
    const { code, stdout } = await inShell('exec "$@" 2>/dev/full', [], "bench", "--preset", "tiny");
    assertEquals(code, 0);
    assertMatch(stdout, /^Output sum: 0\.2739\nKernel time: .* ms\nPeak CPU memory: .*\n$/);
  },
});

Deno.test({
  name: "a full device at standard output is exit code 1 with the reason",
  ignore: !isLinux,
  async fn() {
    const { code, stderr } = await inShell('exec "$@" >/dev/full', [], "presets");
    assertEquals(code, 1, stderr);
    assertStringIncludes(stderr, "yamoe: Cannot write to standard output: No space left on device");
  },
});

Deno.test("a reader that closes standard output early ends the tool quietly", async () => {
  const { code, stderr } = await inShell('"$@" | head -n 1', [], "presets");
  assertEquals([code, stderr], [0, ""]);
});

Deno.test({
  name: "a file that cannot be written to its end is exit code 1 with the reason, and leaves nothing",
  ignore: !isLinux,
  async fn() {
    const folder = await Deno.makeTempDir();
    try {
      const path = `${folder}/out.json`;
      // A limit of the file size fails as a full disk does, at the first byte too many.
      const { code, stderr } = await inShell(
        `trap "" XFSZ; ulimit -f 1; exec "$@"`,
        ["--allow-read", "--allow-write"],
        ...["bench", "--preset", "tiny", "--batch", "1,2", "--iters", "1", "--output", path],
      );
      assertEquals(code, 1, stderr);
      assertStringIncludes(stderr, `Cannot write ${path}: File too large`);
      assertEquals([...Deno.readDirSync(folder)], []);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

/** Runs a command, sends a signal after its first output, and returns what it wrote. */
async function interrupted(
  signal: Deno.Signal,
  args: readonly string[],
  options: Deno.CommandOptions = {},
): Promise<Outcome & { seconds: number }> {
  const child = new Deno.Command(Deno.execPath(), {
    env: { NO_COLOR: "1" },
    ...options,
    args: ["run", "--no-prompt", ...args],
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const read = async (stream: ReadableStream<Uint8Array>, onText: (text: string) => void) => {
    let text = "";
    for await (const piece of stream.pipeThrough(new TextDecoderStream())) onText(text += piece);
    return text;
  };
  let sent = 0;
  const send = () => {
    if (sent) return;
    sent = performance.now();
    child.kill(signal);
  };
  const [stdout, stderr, status] = await Promise.all([
    read(child.stdout, (text) => text.includes("outputSum") && send()),
    read(child.stderr, (text) => text.includes("Emulated") && setTimeout(send, 3000)),
    child.status,
  ]);
  return { code: status.code, stdout, stderr, seconds: (performance.now() - sent) / 1000 };
}

for (const [signal, code] of [["SIGINT", 130], ["SIGHUP", 129], ["SIGQUIT", 131], ["SIGTERM", 143]] as const) {
  Deno.test({
    name: `${signal} ends a sweep with exit code ${code}, a complete document and no temporary file`,
    ignore: Deno.build.os === "windows",
    async fn() {
      const folder = await Deno.makeTempDir();
      try {
        const outcome = await interrupted(signal, [
          ...["--allow-read", "--allow-write", cli, "bench", "--preset", "tiny", "--batch", "1..1000", "--json"],
          ...["--iters", "1", "--output", `${folder}/rows.json`],
        ]);
        assertEquals(outcome.code, code, outcome.stderr);
        const rows = JSON.parse(outcome.stdout);
        assert(rows.length > 0 && rows.length < 1000);
        assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), ["rows.json"]);
        assert(JSON.parse(await Deno.readTextFile(`${folder}/rows.json`)).length >= rows.length);
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    },
  });
}

Deno.test({
  name: "a terminal that is closed ends a sweep with a complete document on standard output",
  ignore: !hasTerminal,
  async fn() {
    const folder = await Deno.makeTempDir();
    try {
      const sweep = `run --no-prompt ${cli} bench --preset tiny --batch 1..1000 --iters 1 --json`;
      const { code } = await inTerminal(["sh", "-c", `exec ${Deno.execPath()} ${sweep} > rows.json`], {
        cwd: folder,
        hangUp: "5/1000",
      });
      assertEquals(code, 129);
      assert(JSON.parse(await Deno.readTextFile(`${folder}/rows.json`)).length >= 4);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

Deno.test({
  name: `${emulated}: SIGINT ends the tool while a call of the driver blocks it, and completes standard output`,
  ignore: !toolkit || !clang || !isLinux,
  async fn() {
    const { folder } = await buildProduct(80);
    // On the emulator a launch of this job takes minutes.
    const outcome = await interrupted("SIGINT", [
      ...["--allow-ffi", cli, "bench", "--batch", "1,2", "--seq", "4096", "--hidden", "1024", "--experts", "8"],
      ...["--top-k", "4", "--capacity", "none", "--backend", "cuda", "--no-verify", "--json"],
    ], { env: { LD_LIBRARY_PATH: folder, NO_COLOR: "1" } });
    assertEquals(outcome.code, 130, outcome.stderr);
    assertEquals(JSON.parse(outcome.stdout), []);
    assert(outcome.seconds < 10, `${outcome.seconds} s`);
  },
});
