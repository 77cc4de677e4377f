// The numbers that TypeScript and the kernels share: both have them, and they must agree.
import { assertEquals } from "@std/assert";
import { activationRules } from "../src/contract/activations.ts";
import { cudaDTypes, cudaNumbers, cudaScales, cudaScorings } from "../src/cuda/plan/codes.ts";

/** Reads a source file without its comments. */
async function read(path: string): Promise<string> {
  return (await Deno.readTextFile(new URL(`../${path}`, import.meta.url))).replaceAll(/\/\/.*$/gm, "");
}

/** Returns the members of an enumeration of cuda/codes.cuh. The names lack the k and are in lower case. */
async function enumeration(name: string): Promise<Record<string, number>> {
  const [, members = ""] = (await read("cuda/codes.cuh")).match(new RegExp(`enum ${name} \\{([^}]*)\\}`)) ?? [];
  return Object.fromEntries(
    [...members.matchAll(/k(\w+) = (\d+)/g)].map(([, name = "", n]) => [plain(name), Number(n)]),
  );
}

/** Removes what differs between the naming styles. */
function plain(name: string): string {
  return name.toLowerCase().replaceAll(/[-_]/g, "");
}

Deno.test("the CUDA kernels number dtypes, scorings and formats as the host does", async () => {
  assertEquals(await enumeration("DType"), { ...cudaDTypes });
  const scorings = Object.entries(cudaScorings).map(([name, code]) => [plain(name), code]);
  assertEquals(await enumeration("Scoring"), Object.fromEntries(scorings));
  assertEquals(await enumeration("NumberFormat"), { ...cudaNumbers });
  const scales = Object.entries(cudaScales).map(([name, code]) => [`scale${name}`, code]);
  assertEquals(await enumeration("ScaleFormat"), Object.fromEntries(scales));
});

Deno.test("the CUDA kernels number the activations as the contract does", async () => {
  const { identity, swish, ...others } = await enumeration("ActivationKind");
  const { silu, "swiglu-oai": oai, ...rules } = activationRules;
  assertEquals([identity, swish, swish], [0, silu.cuda, oai.cuda]);
  assertEquals(others, Object.fromEntries(Object.entries(rules).map(([name, { cuda }]) => [plain(name), cuda])));
});

Deno.test("the WebAssembly kernels number the activations as the contract does", async () => {
  const source = await read("src/wasm/assembly/activation.ts");
  const constants = [...source.matchAll(/^const (\w+) = (\d+);$/gm)].map((
    [, name = "", n],
  ) => [plain(name), Number(n)]);
  const rules = Object.entries(activationRules).map(([name, { wasm }]) => [plain(name), wasm]);
  assertEquals(Object.fromEntries(constants), Object.fromEntries(rules));
});
