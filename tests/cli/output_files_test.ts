// Files that the tool writes: complete or absent, with the mode and the links that they have.
import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { UsageError } from "../../src/cli/usage_error.ts";
import { checkWritable, replaceFile } from "../../src/cli/whole_file.ts";
import { cli, words, yamoe } from "./yamoe.ts";

/** Runs a test in a folder of its own. */
async function inFolder(test: (folder: string) => void | Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test({
  name: "A git that cannot be started does not end a benchmark",
  ignore: Deno.build.os === "windows",
  fn: () =>
    inFolder(async (folder) => {
      Deno.writeTextFileSync(`${folder}/git`, "#!/\n", { mode: 0o755 }); // a directory is not an interpreter
      const args = words("bench --preset tiny --backend cpu --warmup 0 --iters 1 --json");
      const { code, stdout, stderr } = await yamoe(args, ["--allow-run=git"], { PATH: folder });
      assertEquals([code, JSON.parse(stdout).gitCommit], [0, null], stderr);
    }),
});

const names = (folder: string) => [...Deno.readDirSync(folder)].map(({ name }) => name).sort();

Deno.test("replaceFile() keeps the mode of a file", () =>
  inFolder((folder) => {
    for (const mode of [0o600, 0o640, 0o755]) {
      Deno.writeTextFileSync(`${folder}/a`, "old");
      Deno.chmodSync(`${folder}/a`, mode);
      checkWritable(`${folder}/a`);
      replaceFile(`${folder}/a`, "new");
      assertEquals((Deno.statSync(`${folder}/a`).mode ?? 0) & 0o777, mode);
      assertEquals([Deno.readTextFileSync(`${folder}/a`), names(folder)], ["new", ["a"]]);
    }
  }));

Deno.test("A read-only file is not replaced", () =>
  inFolder((folder) => {
    Deno.writeTextFileSync(`${folder}/a`, "old", { mode: 0o444 });
    Deno.symlinkSync("a", `${folder}/link`);
    for (const path of [`${folder}/a`, `${folder}/link`]) {
      assertThrows(() => checkWritable(path), UsageError, `Cannot write ${path}: the file is read-only`);
    }
    assertEquals(names(folder), ["a", "link"]);
  }));

Deno.test("replaceFile() writes to the target of symbolic links, also to one that does not exist yet", () =>
  inFolder((folder) => {
    Deno.mkdirSync(`${folder}/data`);
    Deno.writeTextFileSync(`${folder}/data/target`, "old");
    Deno.symlinkSync("data/target", `${folder}/link`);
    Deno.symlinkSync(`${folder}/link`, `${folder}/second`);
    Deno.symlinkSync("data/later", `${folder}/dangling`);
    for (const [link, target] of [["link", "target"], ["second", "target"], ["dangling", "later"]]) {
      checkWritable(`${folder}/${link}`);
      replaceFile(`${folder}/${link}`, `${link}`);
      assertEquals(Deno.readTextFileSync(`${folder}/data/${target}`), link);
      assert(Deno.lstatSync(`${folder}/${link}`).isSymlink);
    }
    assertEquals([names(folder), names(`${folder}/data`)], [["dangling", "data", "link", "second"], [
      "later",
      "target",
    ]]);
  }));

Deno.test("replaceFile() does not collide with files that an earlier process left", () =>
  inFolder((folder) => {
    Deno.writeTextFileSync(`${folder}/o.json.${Deno.pid}.tmp`, "left over");
    checkWritable(`${folder}/o.json`);
    replaceFile(`${folder}/o.json`, "new");
    assertEquals(Deno.readTextFileSync(`${folder}/o.json`), "new");
  }));

Deno.test("bench --output ends with 2 for a path that cannot be written", () =>
  inFolder(async (folder) => {
    Deno.symlinkSync(`${folder}/loop.json`, `${folder}/loop.json`);
    Deno.mkdirSync(`${folder}/folder.json`);
    for (const path of ["loop.json", "folder.json", "absent/o.json"]) {
      const { code, stderr } = await yamoe(
        words(`bench --preset tiny --seq 8 --backend cpu --output ${folder}/${path}`),
        ["-RW"],
      );
      assertEquals(code, 2, stderr);
      assertStringIncludes(stderr, `Cannot write ${folder}/${path}: `);
    }
  }));

for (const [signal, code] of [["SIGHUP", 129], ["SIGQUIT", 131], ["SIGTERM", 143]] as const) {
  Deno.test(`${signal} in a sweep leaves valid JSON and no temporary file`, () =>
    inFolder(async (folder) => {
      const child = new Deno.Command(Deno.execPath(), {
        args: [
          ...["run", "--no-prompt", `--allow-read=${folder}`, `--allow-write=${folder}`, cli],
          ...words(`bench --preset tiny --hidden 32 --backend cpu --batch 1..1000 --seq 8 --iters 3 --format json -o`),
          `${folder}/rows.json`,
        ],
        stdout: "piped",
        stderr: "null",
      }).spawn();
      let stdout = "", signaled = false;
      for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
        stdout += text;
        if (signaled || stdout.split("\n").length < 5) continue;
        signaled = true;
        child.kill(signal);
      }
      assertEquals((await child.status).code, code);
      const rows = JSON.parse(stdout), kept = JSON.parse(Deno.readTextFileSync(`${folder}/rows.json`));
      assert(rows.length >= 3 && rows.length === kept.length);
      assertEquals(names(folder), ["rows.json"]);
    }));
}

Deno.test("A reader of standard output that is slower than the writer gets everything", async () => {
  const script = `
import os, fcntl, subprocess, sys, time
r, w = os.pipe()
fcntl.fcntl(w, fcntl.F_SETFL, fcntl.fcntl(w, fcntl.F_GETFL) | os.O_NONBLOCK)
fcntl.fcntl(w, 1031, 4096)
p = subprocess.Popen(sys.argv[1:], stdout=w, stderr=subprocess.DEVNULL)
os.close(w); time.sleep(1.5); data = b""
while True:
    b = os.read(r, 512)
    if not b: break
    data += b
print(p.wait(), len(data))
`;
  const line = words("bench --preset tiny --batch 1..20 --dry-run --backend cpu --format csv");
  const { stdout } = await new Deno.Command("python3", {
    args: ["-c", script, Deno.execPath(), "run", "--no-prompt", cli, ...line],
  }).output();
  const direct = await yamoe(line);
  const [code, length] = new TextDecoder().decode(stdout).trim().split(" ").map(Number);
  assertEquals(code, 0);
  assert(Math.abs((length ?? 0) - direct.stdout.length) < 100, `${length} of ${direct.stdout.length} bytes`); // times differ
});

Deno.test("A full standard error does not lose the result", async () => {
  const { code, stdout } = await new Deno.Command("bash", {
    args: [
      "-c",
      '"$0" run --no-prompt "$1" bench --preset tiny --seq 8 --backend cpu 2> /dev/full',
      Deno.execPath(),
      cli,
    ],
  }).output();
  assertEquals(code, 0);
  assertStringIncludes(new TextDecoder().decode(stdout), "Kernel time: ");
});
