/**
 * The command line: `yamoe <command> [flags]`.
 *
 * @example Run the smallest job on two threads
 * ```sh
 * deno run jsr:@yamoe/yamoe/cli bench --preset tiny --threads 2
 * ```
 *
 * @module
 */
import "./src/require_deno.ts";
import { main } from "./src/cli/main.ts";

if (import.meta.main) Deno.exit(await main(Deno.args));
