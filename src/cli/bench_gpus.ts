// `yamoe bench --gpus N`: every configuration runs on ranks of its own, which end when it is measured.
import type { FinishedRecord } from "../bench/record.ts";
import type { Configuration } from "../bench/sweep.ts";
import { parseRecords } from "../report/read.ts";
import { rankError, RankStarter } from "./several_gpus.ts";

/** Runs configurations on ranks that it starts. */
export class RankRunner implements Disposable {
  readonly #plan: readonly Configuration[];
  readonly #starter = new RankStarter();

  /** @param plan All configurations of the command line. Each rank finds its own by its number. */
  constructor(plan: readonly Configuration[]) {
    this.#plan = plan;
  }

  /**
   * Runs one configuration.
   *
   * @throws {Error} If a rank fails.
   */
  async run(configuration: Configuration): Promise<FinishedRecord> {
    const index = this.#plan.indexOf(configuration);
    const result = await this.#starter.run(configuration.place.gpus ?? 1, index);
    if (result.failed) throw rankError(result);
    const [record] = parseRecords(new TextEncoder().encode(result.stdout), "the output of rank 0");
    return record as FinishedRecord;
  }

  [Symbol.dispose](): void {
    this.#starter[Symbol.dispose]();
  }
}
