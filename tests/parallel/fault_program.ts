// Runs one job in both exchanges, captured too. Prints one JSON line: how many calls of NCCL it made, and what it has left.
import { mapInputs } from "../../src/contract/experts_inputs.ts";
import { openParallel } from "../../src/parallel/open_parallel.ts";
import { shareOf } from "../../src/parallel/exchange_plan.ts";
import { Control } from "../emulator/control.ts";
import { randomJob } from "./random_job.ts";
import { sliceExperts, sliceRows } from "./slices.ts";

const library = "libnccl.so.2"; // the emulator
const nccl = Deno.dlopen(library, {
  emu_nccl_calls: { parameters: [], result: "i64" },
  emu_nccl_live: { parameters: [], result: "i32" },
});
let code = 0;
try {
  for (const exchange of ["assignments", "tokens"] as const) await run(exchange);
} catch (error) {
  console.error(`yamoe: ${error instanceof Error ? error.message : error}`);
  code = 1;
}
const { emu_nccl_calls, emu_nccl_live } = nccl.symbols;
console.log(JSON.stringify({
  ...{ calls: Number(emu_nccl_calls()), communicators: emu_nccl_live() },
  live: new Control(library).live,
}));
Deno.exit(code);

async function run(exchange: "assignments" | "tokens"): Promise<void> {
  using parallel = await openParallel({ exchange, timeout: 10, exitWhenLost: true });
  const { rank, ranks } = parallel;
  const { inputs, options, experts, tokensPerRank } = randomJob(5, ranks, { even: true });
  const [count = 0] = tokensPerRank;
  const tokens = { start: rank * count, end: (rank + 1) * count };
  using scope = new DisposableStack();
  const own = Object.entries(inputs).map(([name, value]) => [
    name,
    name.includes("Proj") ? sliceExperts(value, shareOf(experts, ranks, rank)) : sliceRows(value, tokens),
  ]);
  const uploaded = mapInputs(Object.fromEntries(own) as typeof inputs, (value) => scope.use(parallel.upload(value)));
  const call = () => parallel.experts(uploaded, { ...options, totalExperts: experts, tokensPerRank });
  const { result } = await parallel.measure(call);
  await parallel.download(scope.use(result));
  if (exchange === "assignments") return;
  scope.use(await call()); // a graph
  const captured = scope.use(await parallel.capture(call));
  await captured.replay();
  await parallel.download(captured.result);
}
