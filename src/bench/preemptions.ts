import { resourceUsage } from "node:process";

/**
 * Starts to count how often the operating system takes a CPU from this process to run another one. On an idle machine that
 * is rare, so that a high rate means that other programs compete for the CPUs.
 *
 * @returns A function that returns the rate per second since the start. It is 0 on systems that do not count preemptions.
 */
export function preemptionCounter(): () => number {
  const [count, time] = [resourceUsage().involuntaryContextSwitches, performance.now()];
  return () => (resourceUsage().involuntaryContextSwitches - count) * 1000 / (performance.now() - time);
}
