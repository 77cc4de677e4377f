// Which names belong to a down projection of experts.
import { assertEquals } from "@std/assert";
import { findExperts, linearName } from "../../src/models/checkpoint/layer_names.ts";
import { packings } from "../../src/models/families/packings.ts";
import { weightSuffixes } from "../../src/models/formats/mod.ts";
import { unsupportedSuffixes } from "../../src/models/formats/unsupported.ts";

const basesOf = (...names: string[]) =>
  findExperts({ path: "model", names, has: (name) => names.includes(name) }).map(({ base }) => base);

const prefixes = ["", "model.layers.3.mlp.", "decoder.moe.", "model.layers.3.block_sparse_moe.", "blocks.3.moe_block."];
const suffixes = [...weightSuffixes, ...unsupportedSuffixes];

for (const { module, down } of packings) {
  const bases = prefixes.filter((prefix) => module?.test(prefix) ?? true);

  Deno.test(`findExperts() finds ${down} of each expert, in every format${module ? `, in ${module}` : ""}`, () => {
    for (const base of bases) {
      for (const suffix of suffixes) {
        for (const expert of [0, 1234]) assertEquals(basesOf(linearName(base, down, expert) + suffix), [base]);
      }
    }
  });

  Deno.test(`findExperts() ignores names that only contain ${down}${module ? `, in ${module}` : ""}`, () => {
    for (const base of bases) {
      const name = linearName(base, down, 0);
      const names = [`${base}my_${name.slice(base.length)}.weight`, `${name}.weight_scale`, `${name}.bias`, `${name}s`];
      assertEquals(basesOf(...names), []);
    }
  });
}

Deno.test("findExperts() lists each layer once, in the order of the names", () => {
  const names = [7, 3, 7].flatMap((layer) =>
    [0, 1].map((e) => `model.layers.${layer}.mlp.experts.${e}.down_proj.weight`)
  );
  assertEquals(basesOf(...names, "experts.down_proj"), ["model.layers.7.mlp.", "model.layers.3.mlp.", ""]);
});
