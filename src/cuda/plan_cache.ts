import type { PreparedPlan } from "./prepared_plan.ts";

/** The maximum number of different plans that are kept. */
const capacity = 64;

/**
 * Keeps plans, because planning takes 0.1 ms or more. A resolved call is found by its identity, which takes no time, or
 * else by its sizes.
 *
 * @typeParam Shape A resolved call.
 */
export class PlanCache<Shape extends object> {
  readonly #byIdentity = new WeakMap<Shape, PreparedPlan>();
  readonly #bySizes = new Map<string, PreparedPlan>();
  readonly #plan: (shape: Shape) => PreparedPlan;

  /** @param plan Plans a call. */
  constructor(plan: (shape: Shape) => PreparedPlan) {
    this.#plan = plan;
  }

  /** Returns the plan of a call. */
  get(shape: Shape): PreparedPlan {
    let plan = this.#byIdentity.get(shape);
    if (!plan) {
      plan = this.#find(JSON.stringify(shape), shape);
      this.#byIdentity.set(shape, plan);
    }
    return plan;
  }

  #find(key: string, shape: Shape): PreparedPlan {
    const plan = this.#bySizes.get(key) ?? this.#plan(shape);
    this.#bySizes.delete(key); // the newest last
    this.#bySizes.set(key, plan);
    if (this.#bySizes.size > capacity) this.#bySizes.delete(this.#bySizes.keys().next().value ?? "");
    return plan;
  }
}
