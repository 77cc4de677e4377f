import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { Safetensors, tensor, writeSafetensors } from "../../mod.ts";
import { yamoe } from "./yamoe.ts";

const layer = new URL("../../fixtures/layers/mixtral/", import.meta.url).pathname;

async function run(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "-RW", new URL("../../cli.ts", import.meta.url).pathname, "run", ...args],
    env: { NO_COLOR: "1" },
  }).output();
  return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}

Deno.test("run writes the output, reports what it did, and leaves no other file", async () => {
  const directory = await Deno.makeTempDir();
  const output = `${directory}/y.safetensors`;
  const args = ["--weights", `${layer}model.safetensors`, "--input", `${layer}input.safetensors`, "--output", output];
  const { code, stdout, stderr } = await run(...args, "--top-k", "2");
  assertEquals(code, 0, stderr);
  assertEquals(stdout.split("\n").map((line) => line.split(":")[0]), ["Output sum", "Time", ""]);
  assertStringIncludes(stderr, "mixtral: layer 3, 7 tokens, hidden 48, intermediate 40, 8 experts, top 2, f32");
  assertStringIncludes(stderr, "silu, gate and up concatenated, weights out-in, router softmax-renormalize\n");
  assertEquals(Array.from(Deno.readDirSync(directory), ({ name }) => name), ["y.safetensors"]);
  using file = await Safetensors.open(output);
  assertEquals([...file.tensors.values()].map(({ name, dtype, shape }) => [name, dtype, shape]), [["output", "F32", [
    7,
    48,
  ]]]);
  await Deno.remove(directory, { recursive: true });
});

Deno.test("run gives the output the dtype and the dimensions of the input", async () => {
  const directory = await Deno.makeTempDir();
  const [input, output] = [`${directory}/x.safetensors`, `${directory}/y.safetensors`];
  const x = tensor(new Float16Array(2 * 3 * 48).fill(0.5), [2, 3, 48]);
  await writeSafetensors(input, { hidden_states: x, mask: tensor(new Int32Array(1)) });
  const { code, stderr } = await run("--weights", layer, "--input", input, "--output", output, "--top-k=2");
  assertEquals(code, 0, stderr);
  assertStringIncludes(stderr, "top 2, f32"); // weights in f32, input in f16: neither is rounded before the end
  using file = await Safetensors.open(output);
  assertEquals([file.describe("output").dtype, file.describe("output").shape], ["F16", [2, 3, 48]]);
  await Deno.remove(directory, { recursive: true });
});

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.test(`run leaves no file behind on ${signal} while it writes`, async () => {
    const directory = await Deno.makeTempDir(), input = await Deno.makeTempFile();
    const output = `${directory}/y.safetensors`;
    await writeSafetensors(input, { x: tensor(new Float32Array(400_000 * 48).fill(0.5), [400_000, 48]) });
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "--no-prompt", "-RW", new URL("../../cli.ts", import.meta.url).pathname, "run", "--top-k=1"],
        ...["--weights", layer, "--input", input, "--output", output],
      ],
      stdout: "null",
      stderr: "null",
    }).spawn();
    const names = () => Array.from(Deno.readDirSync(directory), ({ name }) => name);
    while (names().length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    const seen = names();
    try {
      child.kill(signal);
    } catch {
      // the process has ended
    }
    const { code } = await child.status;
    if (code === 0) assertEquals(names(), ["y.safetensors"]); // everything was written before the signal
    else {
      assertEquals(code, signal === "SIGINT" ? 130 : 143);
      assertMatch(seen[0]!, /^y\.safetensors\..*\.tmp$/);
      assertEquals(names().filter((name) => name !== "y.safetensors"), []);
    }
    await Deno.remove(directory, { recursive: true });
    await Deno.remove(input);
  });
}

Deno.test("run refuses what it cannot do, before any work", async () => {
  const directory = await Deno.makeTempDir();
  const narrow = `${directory}/narrow.safetensors`;
  await writeSafetensors(narrow, { x: tensor(new Float32Array(6), [2, 3]) });
  const integers = `${directory}/integers.safetensors`;
  const header = '{"x":{"dtype":"I64","shape":[1,1],"data_offsets":[0,8]}}';
  const length = new Uint8Array(new BigUint64Array([BigInt(header.length)]).buffer);
  await Deno.writeFile(
    integers,
    new Uint8Array([...length, ...new TextEncoder().encode(header), ...new Uint8Array(8)]),
  );
  const input = `${layer}input.safetensors`;
  const longName = `${directory}/${"y".repeat(250)}`; // too long for the temporary name
  const cases: [string[], number, string][] = [
    [[], 2, "--weights is needed"],
    [["--weights", layer, "--input", input], 2, "--output is needed"],
    [
      ["--weights", layer, "--input", input, "--output", `${directory}/none/y`],
      2,
      `Cannot write ${directory}/none/y: No such file or directory`,
    ],
    [["--weights", layer, "--input", input, "--output", directory], 2, "expected the path of a regular file"],
    [
      ["--weights", `${directory}/none`, "--input", input, "--output", longName],
      2,
      `Cannot write ${longName}: File name`,
    ],
    [["--weights", layer, "--input", narrow, "--output", narrow], 2, "--output must not be a file that is read"],
    [
      ["--weights", layer, "--input", narrow, "--output", `${directory}/y`, "--top-k", "2"],
      1,
      "the input must have 48 columns",
    ],
    [
      ["--weights", layer, "--input", integers, "--output", `${directory}/y`, "--top-k", "2"],
      1,
      'tensor "x" must be F16, BF16 or F32 of shape [T, H], got I64 [1, 1]',
    ],
    [["--weights", layer, "--input", input, "--output", `${directory}/y`], 1, "top-k, is needed"],
    [["--weights", layer, "--input", input, "--output", `${directory}/y`, "--prefix", "mtp."], 1, 'begins with "mtp."'],
    [
      ["--weights", layer, "--input", input, "--output", `${directory}/y`, "--top-k", "9"],
      2,
      "topK must be an integer from 1",
    ],
    [["--weights", layer, "--input", input, "--output", `${directory}/y`, "--layer", "4"], 1, "layer 4 has no experts"],
    [
      ["--weights", `${directory}/none`, "--input", input, "--output", `${directory}/y`],
      1,
      `Cannot open ${directory}/none: No such file or directory`,
    ],
  ];
  for (const [args, expected, message] of cases) {
    const { code, stdout, stderr } = await run(...args);
    assertEquals({ code, stdout }, { code: expected, stdout: "" }, stderr);
    assertStringIncludes(stderr, message);
  }
  const left = Array.from(Deno.readDirSync(directory), ({ name }) => name).sort();
  assertEquals(left, ["integers.safetensors", "narrow.safetensors"]);
  await Deno.remove(directory, { recursive: true });
});

Deno.test("No file of a checkpoint is replaced by an output, whatever its name", async () => {
  const directory = await Deno.makeTempDir();
  const path = (name: string) => `${directory}/${name}`;
  await Deno.mkdir(path("model"));
  const [input, config, weights] = [path("x"), path("model/config.json"), path("model/a-00001-of-00001.safetensors")];
  await Deno.copyFile(`${layer}input.safetensors`, input);
  await Deno.copyFile(`${layer}model.safetensors`, weights);
  await Deno.writeTextFile(config, '{"model_type":"mixtral","num_experts_per_tok":2}');
  await Deno.symlink(weights, path("soft"));
  await Deno.link(weights, path("hard"));
  const before = await Deno.readFile(weights);
  const outputs = [weights, config, path("./model/config.json"), path("soft"), path("hard")];
  for (const output of outputs) {
    const { code, stderr } = await run("--weights", path("model"), "--input", input, "--output", output);
    assertEquals([code, stderr], [2, `yamoe: --output must not be a file that is read, got "${output}"\n`]);
  }
  const flags = ["--weights", path("model"), "--hidden", input, "--output", config, "--backend", "cpu", "--quiet"];
  const side = `--weights ${path("model")} --hidden ${input} --backend cpu`;
  const inTurn = ["--ab", side, side, "--output", config, "--quiet"];
  for (const args of [flags, inTurn]) {
    const { code, stderr } = await yamoe(["bench", ...args], ["-RW"]);
    assertEquals([code, stderr], [2, `yamoe: --output must not be a file that is read, got "${config}"\n`]);
  }
  assertEquals(await Deno.readFile(weights), before);
  assertStringIncludes(await Deno.readTextFile(config), "mixtral");
  await Deno.remove(directory, { recursive: true });
});

Deno.test("bench reports a wrong file of hidden states beside a checkpoint in one line", async () => {
  const directory = await Deno.makeTempDir();
  const path = `${directory}/hidden.safetensors`, weights = `${directory}/model`;
  await writeSafetensors(path, { x: tensor(new Float32Array(6)) });
  await Deno.mkdir(weights);
  await Deno.copyFile(`${layer}model.safetensors`, `${weights}/model.safetensors`);
  const config = '{"model_type":"mixtral","num_experts_per_tok":2}';
  await Deno.writeTextFile(`${weights}/config.json`, config + " ".repeat(20_000_000)); // takes longer to read
  const { code, stderr } = await yamoe(["bench", "--weights", weights, "--hidden", path, "--backend", "cpu"], ["-RW"]);
  const message = `tensor "x" must be F16, BF16 or F32 of shape [T, H], got F32 [6]`;
  assertEquals([code, stderr], [1, `yamoe: ${path}: ${message}\n`]);
  await Deno.remove(directory, { recursive: true });
});
