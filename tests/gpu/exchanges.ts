// The parts of a call over several GPUs: the time of each kernel and exchange, and of NCCL alone with the same rows.
import type { BackendTensor } from "../../src/backend/backend.ts";
import { Event } from "../../src/cuda/driver/event.ts";
import type { RankBackend } from "../../src/parallel/backend.ts";
import type { RankGroup } from "../../src/parallel/rank_group.ts";
import { median } from "../../src/statistics.ts";

type Exchange = Parameters<RankGroup["communicator"]["exchange"]>;

const rounds = 7;

/** Measures the parts of an exchange of assignments. The rows travel in the first and in the last group of a call. */
export async function exchanges(group: RankGroup, parallel: RankBackend, run: () => Promise<BackendTensor>) {
  const { communicator, inner } = group;
  const { stream } = inner.host;
  const { parts, groups } = await recordParts(group, run);
  const [dispatch = [], combine = []] = [groups[0], groups.at(-1)];
  using memory = new DisposableStack();
  /** Moves parts to memory of their own, at the same distances. */
  const fresh = (parts: Exchange[0]) => {
    const all = parts.filter(({ bytes }) => bytes > 0);
    const start = all.reduce((least, { pointer }) => pointer < least ? pointer : least, all[0]?.pointer ?? 0n);
    const bytes = Math.max(0, ...all.map((part) => Number(part.pointer - start) + part.bytes));
    const { pointer } = memory.use(inner.allocate("i32", [Math.ceil(bytes / 4) + 1]));
    return parts.map((part) => ({ ...part, pointer: pointer + part.pointer - start }));
  };
  const bare = async (calls: readonly Exchange[]) => {
    const copies = calls.map(([send, receive]) => [fresh(send), fresh(receive)] as const);
    const queue = () => copies.forEach(([from, to]) => communicator.exchange(from, to, stream.handle));
    const repeat = () => {
      for (let i = 0; i < 20; i++) communicator.group(queue);
      return Promise.resolve();
    };
    await parallel.measure(repeat);
    return (await parallel.measure(repeat)).milliseconds / 20;
  };
  const received = (calls: readonly Exchange[]) =>
    calls.flatMap(([, receive]) => receive.filter((_, r) => r !== group.rank))
      .reduce((sum, { bytes }) => sum + bytes, 0);
  const receivedBytes = [received(dispatch), received(combine)];
  const bareMs = [await bare(dispatch), await bare(combine)];
  const bareGigabytesPerSecond = receivedBytes.map((bytes, i) => Math.round(bytes / (bareMs[i] ?? 0) / 1e6));
  return { parts, receivedBytes, bareMs, bareGigabytesPerSecond };
}

/** Returns the median time of each kernel and of each group of exchanges, and the exchanges of each group. */
async function recordParts(group: RankGroup, run: () => Promise<BackendTensor>) {
  const { communicator, inner } = group;
  const { context, stream } = inner.host;
  const host = inner.host as { launch: typeof inner.host.launch };
  const original = {
    ...{ launch: host.launch, exchange: communicator.exchange.bind(communicator) },
    group: communicator.group.bind(communicator),
  };
  let marks: { readonly name: string; readonly start: Event; readonly end: Event }[] = [];
  let groups: Exchange[][] = [];
  let depth = 0;
  const mark = (name: string, work: () => void) => {
    const one = { name, start: new Event(context), end: new Event(context) };
    marks.push(one);
    one.start.record(stream);
    work();
    one.end.record(stream);
  };
  host.launch = (launch, work) => mark(launch.kernel, () => original.launch(launch, work));
  communicator.exchange = (...call) =>
    communicator.group(() => {
      groups.at(-1)?.push(call);
      original.exchange(...call);
    });
  communicator.group = (queue) => {
    depth += 1;
    if (depth > 1) original.group(queue);
    else {
      groups.push([]);
      mark("exchange", () => original.group(queue));
    }
    depth -= 1;
  };
  const times: number[][] = [];
  for (let round = 0; round < rounds; round++) {
    [marks, groups] = [[], []];
    (await run())[Symbol.dispose]();
    group.synchronize();
    times.push(marks.map(({ start, end }) => end.millisecondsSince(start)));
    for (const { start, end } of marks) [start, end].forEach((event) => event[Symbol.dispose]());
  }
  host.launch = original.launch;
  communicator.exchange = original.exchange;
  communicator.group = original.group;
  const parts = marks.map(({ name }, i) => `${name} ${(1000 * median(times.map((row) => row[i] ?? 0))).toFixed(1)}`);
  return { parts, groups };
}
