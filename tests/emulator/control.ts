// The emulator's own functions, beside those of the driver.

const symbols = {
  emu_checked: { parameters: [], result: "i32" },
  emu_reset: { parameters: [], result: "void" },
  emu_seed: { parameters: ["u32", "u32"], result: "void" },
  emu_reuse_addresses: { parameters: ["i32"], result: "void" },
  emu_devices: { parameters: ["i32"], result: "void" },
  emu_driver_version: { parameters: ["i32"], result: "void" },
  emu_memory: { parameters: ["u64"], result: "void" },
  emu_limit_steps: { parameters: ["u64"], result: "u64" },
  emu_fail: { parameters: ["i64", "i32", "i32"], result: "void" },
  emu_calls: { parameters: [], result: "i64" },
  emu_failed_call: { parameters: ["buffer", "u64"], result: "u64" },
  emu_log: { parameters: ["buffer", "u64"], result: "u64" },
  emu_report: { parameters: ["buffer", "u64"], result: "u64" },
  emu_live: { parameters: ["buffer", "u64"], result: "u64" },
  emu_counters: { parameters: ["buffer", "buffer"], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;

/** What a kernel has done, over all its launches. */
export interface Counters {
  readonly launches: number;
  readonly barriers: number;
  /** Matrix products, one a warp. */
  readonly products: number;
  readonly matrixLoads: number;
  /** Passes over the banks that ldmatrix took beyond the least. */
  readonly bankConflicts: number;
  /** The same of asynchronous copies. */
  readonly copyConflicts: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
}

/** The controls of an emulator. */
export class Control {
  readonly #symbols: Deno.DynamicLibrary<typeof symbols>["symbols"];

  constructor(library: string) {
    this.#symbols = Deno.dlopen(library, symbols).symbols;
  }

  /** Forgets settings, faults, logs and counters. */
  reset(): void {
    this.#symbols.emu_reset();
  }

  /** Whether kernels run with checks. */
  get checked(): boolean {
    return this.#symbols.emu_checked() !== 0;
  }

  /** In which order threads run: 0 is ascending. With `preempt` n, about every n-th access lets another thread go on. */
  schedule(seed: number, preempt = 0): void {
    this.#symbols.emu_seed(seed, preempt);
  }

  /** Whether freed addresses are given out again, as a real allocator does; then their wrong use goes unseen. */
  reuseAddresses(reuse: boolean): void {
    this.#symbols.emu_reuse_addresses(Number(reuse));
  }

  /** How many devices there are. */
  set devices(count: number) {
    this.#symbols.emu_devices(count);
  }

  /** What cuDriverGetVersion tells. */
  set driverVersion(version: number) {
    this.#symbols.emu_driver_version(version);
  }

  /** Bytes of device memory. */
  set memory(bytes: number) {
    this.#symbols.emu_memory(BigInt(bytes));
  }

  /**
   * Sets how many accesses, barriers and collectives a launch may have before it is taken for one that never ends; 0 for any
   * number. Returns the most that a launch has had since the last time.
   */
  limitSteps(limit: number): number {
    return Number(this.#symbols.emu_limit_steps(BigInt(limit)));
  }

  /** Fails the call-th call from now with a code; with `persistent`, all after it too. 0 fails none. */
  fail(call: number, code: number, persistent = false): void {
    this.#symbols.emu_fail(BigInt(call), code, Number(persistent));
  }

  /** Calls since {@linkcode Control.fail} or {@linkcode Control.reset}. */
  get calls(): number {
    return Number(this.#symbols.emu_calls());
  }

  /** The function that was made to fail. */
  get failedCall(): string {
    return this.#text("emu_failed_call");
  }

  /** The functions called, in order. */
  get log(): string[] {
    return this.#text("emu_log").trimEnd().split("\n");
  }

  /** What a checker, or the driver, found wrong last. */
  get report(): string {
    return this.#text("emu_report");
  }

  /** What is live, a line a kind. */
  get live(): string {
    return this.#text("emu_live");
  }

  /** A kernel's counters. */
  counters(kernel: string): Counters {
    const out = new BigUint64Array(8);
    this.#symbols.emu_counters(new TextEncoder().encode(`${kernel}\0`), out);
    const [launches, barriers, products, matrixLoads, bankConflicts, copyConflicts, bytesRead, bytesWritten] = Array
      .from(out, Number) as [number, number, number, number, number, number, number, number];
    return { launches, barriers, products, matrixLoads, bankConflicts, copyConflicts, bytesRead, bytesWritten };
  }

  #text(name: "emu_failed_call" | "emu_log" | "emu_report" | "emu_live"): string {
    const bytes = Number(this.#symbols[name](new Uint8Array(1), 0n));
    const buffer = new Uint8Array(bytes + 1);
    this.#symbols[name](buffer, BigInt(buffer.length));
    return new TextDecoder().decode(buffer.subarray(0, bytes));
  }
}
