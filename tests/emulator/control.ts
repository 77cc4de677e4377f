// The functions that the emulator's library has in addition to the driver's.

const symbols = {
  emu_checked: { parameters: [], result: "i32" },
  emu_reset: { parameters: [], result: "void" },
  emu_schedule: { parameters: ["u32", "u32", "u32"], result: "void" },
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

/** The totals of a kernel over all its launches. */
export interface Counters {
  readonly launches: number;
  readonly barriers: number;
  /** Matrix products, counted per warp. */
  readonly products: number;
  readonly matrixLoads: number;
  /** Passes over the shared memory banks that ldmatrix needed beyond the minimum. */
  readonly bankConflicts: number;
  /** The same count for asynchronous copies. */
  readonly copyConflicts: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
}

/** Controls and inspects an emulator. */
export class Control {
  readonly #symbols: Deno.DynamicLibrary<typeof symbols>["symbols"];

  /** Opens the library at a path. */
  constructor(library: string) {
    this.#symbols = Deno.dlopen(library, symbols).symbols;
  }

  /** Resets settings, faults, logs and counters. */
  reset(): void {
    this.#symbols.emu_reset();
  }

  /** Whether kernels run with checks. */
  get checked(): boolean {
    return this.#symbols.emu_checked() !== 0;
  }

  /**
   * Sets the order in which threads run. Seed 0 is ascending. If `preempt` is n > 0, a thread yields about every n accesses. If
   * `tickets` is n > 0, a block takes at most n tickets from a counter, unless it is the last one.
   */
  schedule(seed: number, preempt = 0, tickets = 0): void {
    this.#symbols.emu_schedule(seed, preempt, tickets);
  }

  /** Sets whether freed addresses are reused, as by a real allocator. If they are, use after free is not detected. */
  reuseAddresses(reuse: boolean): void {
    this.#symbols.emu_reuse_addresses(Number(reuse));
  }

  /** Sets the number of devices. */
  set devices(count: number) {
    this.#symbols.emu_devices(count);
  }

  /** Sets the version that cuDriverGetVersion reports. */
  set driverVersion(version: number) {
    this.#symbols.emu_driver_version(version);
  }

  /** Sets the size of the device memory in bytes. */
  set memory(bytes: number) {
    this.#symbols.emu_memory(BigInt(bytes));
  }

  /**
   * Sets the number of accesses, barriers and collectives after which a launch is stopped as endless. 0 means no limit.
   *
   * @returns The largest number that a launch had since the last call.
   */
  limitSteps(limit: number): number {
    return Number(this.#symbols.emu_limit_steps(BigInt(limit)));
  }

  /** Makes the call-th driver call from now fail with a code, and with `persistent` all later ones. 0 makes none fail. */
  fail(call: number, code: number, persistent = false): void {
    this.#symbols.emu_fail(BigInt(call), code, Number(persistent));
  }

  /** The number of driver calls since {@linkcode Control.fail} or {@linkcode Control.reset}. */
  get calls(): number {
    return Number(this.#symbols.emu_calls());
  }

  /** The name of the function that was made to fail. */
  get failedCall(): string {
    return this.#text("emu_failed_call");
  }

  /** The names of the called functions, in order. */
  get log(): string[] {
    return this.#text("emu_log").trimEnd().split("\n");
  }

  /** The last fault that a check or the driver found. */
  get report(): string {
    return this.#text("emu_report");
  }

  /** The objects that are live, one line for each kind. */
  get live(): string {
    return this.#text("emu_live");
  }

  /** Returns a kernel's counters. */
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
