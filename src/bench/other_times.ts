// The time of a call in other circumstances: with cold caches, after pauses, without any pause, and replayed.
import type { Backend, BackendTensor } from "../backend/backend.ts";
import type { BenchResult } from "./figures.ts";
import { median } from "../statistics.ts";

/** The maximum number of calls with cold caches, and of calls without a pause. */
const maxCalls = 100;

/** The pause before a call that is to meet a rested GPU, in milliseconds, and the maximum number of such calls. */
const pauseMs = 50, maxPausedCalls = 10;

/** The number of series of replays. Each takes about 10 ms. */
const replaySeries = 11;

/** The times of a call in other circumstances. */
export type OtherTimes = Pick<BenchResult, "coldTimeMs" | "pausedTimeMs" | "backToBackTimeMs" | "replayTimeMs">;

/**
 * Measures a call in other circumstances. Only a GPU has them.
 *
 * @param calls The number of isolated calls, their median, and whether a call can be captured.
 */
export async function otherTimes(
  backend: Backend,
  { count, isolatedMs, capturable }: {
    readonly count: number;
    readonly isolatedMs: number;
    readonly capturable: boolean;
  },
  run: () => Promise<BackendTensor>,
): Promise<OtherTimes | undefined> {
  if (!backend.flushCaches) return undefined;
  const calls = Math.min(count, maxCalls);
  const medianAfter = async (count: number, prepare: () => void | Promise<void>) => {
    const times: number[] = [];
    while (times.length < count) {
      await prepare();
      const { result, milliseconds } = await backend.measure(run);
      using _output = result;
      times.push(milliseconds);
    }
    return median(times);
  };
  const coldTimeMs = await medianAfter(calls, () => backend.flushCaches?.());
  const pause = () => new Promise<void>((resolve) => setTimeout(resolve, pauseMs));
  const pausedTimeMs = await medianAfter(Math.min(calls, maxPausedCalls), pause);
  const many = Math.max(calls, Math.min(maxCalls, Math.ceil(100 / isolatedMs)));
  const { milliseconds } = await backend.measure(async () => {
    for (let i = 0; i < many; i++) {
      using _output = await run();
    }
  });
  const replayTimeMs = capturable
    ? await medianReplay(backend, Math.min(maxCalls, Math.ceil(10 / isolatedMs)), run)
    : null;
  return { coldTimeMs, pausedTimeMs, backToBackTimeMs: milliseconds / many, replayTimeMs };
}

/** Captures a call and returns the median over several series of the time per replay, with `count` replays in a row. */
async function medianReplay(backend: Backend, count: number, run: () => Promise<BackendTensor>): Promise<number> {
  using captured = await backend.capture(run);
  const times: number[] = [];
  while (times.length < replaySeries) {
    const { milliseconds } = await backend.measure(async () => {
      for (let i = 0; i < count; i++) await captured.replay();
    });
    times.push(milliseconds / count);
  }
  return median(times);
}
