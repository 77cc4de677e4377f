// Whether other programs use the CPUs while a job is measured.
import { cpus } from "node:os";
import { cpuUsage, resourceUsage } from "node:process";
import type { BenchResult } from "./figures.ts";

type MachineLoad = Pick<BenchResult, "otherLoad" | "preemptionsPerSecond">;

/** The shortest time, in milliseconds, in which the operating system counts CPU time precisely enough. */
const shortest = 200;

/**
 * Starts to watch how much other programs use the CPUs.
 *
 * @returns A function that returns the load since the start. The share of other programs is null without the permission to
 * read the times of the CPUs. Preemptions are counted without any permission, but not on every system.
 */
export function watchMachine(): () => MachineLoad {
  const before = snapshot();
  return () => {
    const after = snapshot();
    const elapsed = after.time - before.time;
    const isKnown = after.busy !== null && before.busy !== null && elapsed >= shortest;
    const others = isKnown ? after.busy - before.busy - (after.own - before.own) : null;
    return {
      otherLoad: others === null ? null : Math.max(0, others / (elapsed * after.cpus)),
      preemptionsPerSecond: (after.preemptions - before.preemptions) * 1000 / elapsed,
    };
  };
}

/** Times in milliseconds. */
interface Snapshot {
  readonly time: number;
  readonly cpus: number;
  /** The CPU time that all programs used; null if it is unknown. */
  readonly busy: number | null;
  /** The CPU time that this process used. */
  readonly own: number;
  readonly preemptions: number;
}

function snapshot(): Snapshot {
  const { state } = Deno.permissions.querySync({ name: "sys", kind: "cpus" });
  const all = state === "granted" ? cpus() : [];
  const busy = all.reduce((sum, { times: { user, nice, sys, irq } }) => sum + user + nice + sys + irq, 0);
  const { user, system } = cpuUsage();
  return {
    time: performance.now(),
    cpus: all.length,
    busy: busy > 0 ? busy : null,
    own: (user + system) / 1000,
    preemptions: resourceUsage().involuntaryContextSwitches,
  };
}
