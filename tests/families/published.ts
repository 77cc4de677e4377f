// The families' checkpoints as people publish them: config.json, names, packings, and what the modeling code computes. Sizes
// are small; every key has the published spelling.
import type { Published } from "./checkpoints.ts";
import { correctedFamilies } from "./published_corrected.ts";
import { edges } from "./published_edges.ts";
import { softmaxFamilies } from "./published_softmax.ts";
import { variants } from "./published_variants.ts";

/** Every checkpoint of the table. */
export const published: readonly Published[] = [...softmaxFamilies, ...correctedFamilies, ...variants, ...edges];
