// A rank that joins the others, without a GPU. Prints one JSON line. The environment says what is wrong with it.
import { placementFrom } from "../../src/world/launcher.ts";
import { joinWorld } from "../../src/world/world.ts";

const [library = "", what = ""] = Deno.args;
const placement = placementFrom((name) => Deno.env.get(name));
if (!placement) throw new RangeError("The program needs RANK and WORLD_SIZE");
const { rank } = placement;
const nccl = { version: Number(Deno.env.get("NCCL_VERSION") ?? 22809), path: library };
const start = performance.now();
try {
  using world = await joinWorld({
    ...{ placement, gpu: Deno.env.get("GPU") ?? `GPU-${rank}`, host: "here", timeout: 2000 },
    nccl: { ...nccl, createId: () => new Uint8Array(128).fill(7) },
    exitWhenLost: true,
  });
  if (what === "fail" && rank === 1) {
    world.fail("out of memory");
    Deno.exit(1);
  }
  if (what === "die" && rank === 1) Deno.kill(Deno.pid, "SIGKILL");
  const values = await world.allGather({ rank, id: world.id[5] });
  if (what === "leave" && rank === 1) Deno.exit((world[Symbol.dispose](), 0));
  if (what !== "") await new Promise((resolve) => setTimeout(resolve, 300));
  console.log(JSON.stringify({ values, members: world.members.map(({ host }) => host) }));
} catch (error) {
  const milliseconds = performance.now() - start;
  console.log(JSON.stringify({ error: error instanceof Error ? error.message : String(error), milliseconds }));
}
