// Random programs on a backend: calls that overlap, tensors that are disposed at any time, callbacks that throw or call the
// backend again. All numbers are small integers, so every result is exact, whatever the order of the sums.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { type Backend, type MoeLayer, type Tensor, tensor } from "../mod.ts";
import { mapInputs } from "../src/contract/experts_inputs.ts";
import { mapLayer } from "../src/contract/resolve_moe.ts";
import { ProgramCaptures } from "./lifetime_captures.ts";
import { randomFloats, randomIntegers, randomOp } from "./lifetime_ops.ts";
import { naiveExperts } from "./naive.ts";
import { naiveMoe } from "./naive_moe.ts";
import { assertSame, type Call, CallbackError, fail, isMatrix, magnitude, type Value } from "./lifetime_values.ts";
import { SmallRandom } from "./small_random.ts";

/** The sizes of a program's tensors. */
export interface ProgramSizes {
  readonly tokens: number;
  readonly hidden: number;
  readonly intermediate: number;
}

/** The largest magnitude of a tensor that a call may add to others, so that all sums stay exact in f32. */
const maximumAddend = 2 ** 20;

/** Runs a random program, and checks every result and the memory at the end. */
export async function runProgram(backend: Backend, seed: number, sizes: ProgramSizes, steps: number): Promise<void> {
  const before = backend.memory.liveBytes;
  const program = new Program(backend, new SmallRandom(seed), sizes);
  for (let step = 0; step < steps; step++) await program.step();
  await program.end();
  assertEquals(backend.memory.liveBytes, before, "live bytes");
}

class Program {
  readonly #backend: Backend;
  readonly #random: SmallRandom;
  readonly #sizes: ProgramSizes;
  readonly #values: Value[] = [];
  readonly #pending = new Set<Promise<void>>();
  readonly #failures: unknown[] = [];
  readonly #captures = new ProgramCaptures();
  readonly #steps: readonly [weight: number, run: () => void | Promise<void>][];

  constructor(backend: Backend, random: SmallRandom, sizes: ProgramSizes) {
    this.#backend = backend;
    this.#random = random;
    this.#sizes = sizes;
    this.#steps = [
      [4, () => void this.#upload(this.#matrix())],
      [4, () => this.#call(this.#experts(this.#addend()))],
      [2, () => this.#overlap()],
      [2, () => this.#moe()],
      [4, () => this.#call(this.#op())],
      [2, () => this.#capture()],
      [3, () => this.#track(this.#captures.replay(this.#random))],
      [1, () => this.#captures.dispose(this.#random)],
      [3, () => this.#download()],
      [2, () => this.#read()],
      [2, () => this.#fill()],
      [4, () => this.#dispose()],
      [1, () => this.#useDisposed()],
      [1, () => this.#wrongCall()],
      [2, () => this.#settle()],
    ];
  }

  async step(): Promise<void> {
    await this.#random.weighted(this.#steps)();
    if (this.#failures.length > 0) throw this.#failures[0];
  }

  /** Waits for all calls, checks all tensors and disposes them. */
  async end(): Promise<void> {
    await this.#settle();
    if (this.#random.chance(1 / 2)) this.#captures.end(this.#random);
    for (const value of this.#random.shuffled(this.#values)) {
      if (!value.isDisposed) await this.#check(value);
      value.tensor[Symbol.dispose]();
      if (this.#random.chance(1 / 4)) value.tensor[Symbol.dispose]();
    }
    this.#captures.end(this.#random);
  }

  async #settle(): Promise<void> {
    while (this.#pending.size > 0) await Promise.all(this.#pending);
    if (this.#failures.length > 0) throw this.#failures[0];
  }

  #matrix(): Tensor {
    return this.#integers([this.#sizes.tokens, this.#sizes.hidden], 2);
  }

  #integers(shape: readonly number[], magnitude: number): Tensor {
    return randomFloats(this.#random, shape, magnitude);
  }

  /** Makes weights with about 8 numbers per column that are not 0, so that the products stay small. */
  #weights(shape: readonly [experts: number, hidden: number, columns: number]): Tensor {
    const weights = this.#integers(shape, 1);
    for (let i = 0; i < weights.data.length; i++) if (!this.#random.chance(8 / shape[1])) weights.data[i] = 0;
    return weights;
  }

  #upload(content: Tensor): Value {
    const value = { tensor: this.#backend.upload(content), content, users: 0, isDisposed: false };
    this.#values.push(value);
    return value;
  }

  /** Finds a tensor that is not disposed. */
  #pick(fits: (value: Value & { content: Tensor }) => boolean = () => true): Value & { content: Tensor } | undefined {
    const known = (value: Value): value is Value & { content: Tensor } => value.content !== undefined;
    return this.#random.pick(
      this.#values.filter((value) => !value.isDisposed && known(value) && fits(value))
        .filter(known),
    );
  }

  /** A hidden state: a tensor of the program, or a new one. */
  #hidden(): Value & { content: Tensor } {
    const { tokens, hidden } = this.#sizes;
    const found = this.#pick(({ content }) => isMatrix(content, tokens, hidden) && magnitude(content) <= 2);
    return found ?? this.#upload(this.#matrix()) as Value & { content: Tensor };
  }

  /** Begins a call. At random, disposes a tensor while it runs, and waits for its end or not. */
  async #call(call: Call): Promise<void> {
    this.#start(call);
    if (this.#random.chance(1 / 3)) this.#disposeNow(this.#random.pick(call.used));
    if (this.#random.chance(1 / 2)) await this.#settle();
  }

  #start({ used, run, expected }: Call): void {
    for (const value of used) value.users += 1;
    this.#track(
      run().then((tensors) => {
        for (const value of used) value.users -= 1;
        const contents = tensors.length > 0 ? expected() : [];
        for (const [i, tensor] of tensors.entries()) {
          this.#values.push({ tensor, content: contents[i], users: 0, isDisposed: false });
        }
      }),
    );
  }

  #track(running: Promise<void>): void {
    const tracked = running.catch((error) => void this.#failures.push(error))
      .finally(() => this.#pending.delete(tracked));
    this.#pending.add(tracked);
  }

  /** At random, a tensor that a call can add. */
  #addend(): Value | undefined {
    const { tokens, hidden } = this.#sizes;
    if (this.#random.chance(1 / 2)) return undefined;
    return this.#pick(({ content }) => isMatrix(content, tokens, hidden) && magnitude(content) <= maximumAddend);
  }

  /** A call that uses the output of an earlier one, which is disposed while the call runs and others allocate memory. */
  async #overlap(): Promise<void> {
    const { tokens, hidden } = this.#sizes;
    await this.#settle();
    const before = this.#values.length;
    for (const call of [this.#experts(undefined), this.#experts(undefined)]) this.#start(call);
    await this.#settle();
    const outputs = this.#values.slice(before).filter(({ users, content }) =>
      users === 0 && content && isMatrix(content, tokens, hidden) && magnitude(content) > 2
    );
    const [first, ...others] = [outputs.at(-1), undefined, undefined].map((addend) => this.#experts(addend));
    if (first) this.#start(first);
    for (const output of outputs) this.#disposeNow(output);
    for (const call of others) this.#start(call);
  }

  #experts(addend: Value | undefined): Call {
    const { tokens, hidden, intermediate } = this.#sizes;
    const random = this.#random, E = random.integer(1, 3);
    const isLarge = hidden > 100; // then all calls have tensors of the same sizes, so that memory is recycled
    const K = isLarge ? 1 : random.integer(1, E);
    const hiddenStates = this.#hidden();
    const uploaded = {
      routerIndices: this.#upload(randomIntegers(random, [tokens, K], 0, E - 1)),
      routingWeights: this.#upload(this.#integers([tokens, K], 1)),
      gateUpProj: this.#upload(this.#weights([E, hidden, 2 * intermediate])),
      downProj: this.#upload(this.#integers([E, intermediate, hidden], 1)),
      hiddenStates,
      ...addend && { addend },
    };
    const inputs = mapInputs(uploaded, ({ tensor }) => tensor);
    const options = {
      activation: "relu2",
      expertCapacity: isLarge ? undefined : random.pick([undefined, 1, 2]),
    } as const;
    const throws = random.chance(1 / 8), onProgress = throws ? () => fail() : undefined;
    const contents = mapInputs(uploaded, ({ content }) => content as Tensor);
    return {
      used: Object.values(uploaded),
      run: async () => {
        try {
          return [await this.#backend.experts(inputs, { ...options, onProgress })];
        } catch (error) {
          if (!(throws && error instanceof CallbackError)) throw error;
          return [];
        }
      },
      expected: () => [tensor(Float32Array.from(naiveExperts(contents, options).exact), [tokens, hidden])],
    };
  }

  async #moe(): Promise<void> {
    const { hidden, intermediate } = this.#sizes;
    const E = this.#random.integer(1, 3);
    const experts = (E: number) => ({
      gateUpProj: this.#upload(this.#weights([E, hidden, 2 * intermediate])),
      downProj: this.#upload(this.#integers([E, intermediate, hidden], 1)),
      activation: "relu2" as const,
    });
    const layer: MoeLayer<Value> = {
      // The softmax over one expert is exactly 1.
      router: { weight: this.#upload(this.#integers([E, hidden], 2)), options: { kind: "topk-softmax", topK: 1 } },
      ...experts(E),
      ...this.#random.chance(1 / 2) && { sharedExpert: experts(1) },
    };
    const input = this.#hidden();
    const used = [input];
    const onBackend = mapLayer(layer, (value) => (used.push(value as Value & { content: Tensor }), value.tensor));
    const onHost = mapLayer(layer, ({ content }) => content as Tensor);
    const { content } = input;
    await this.#call({
      used,
      run: async () => [await this.#backend.moe(input.tensor, onBackend)],
      expected: () => [tensor(Float32Array.from(naiveMoe(content, onHost).exact), content.shape)],
    });
    if (this.#random.chance(1 / 2)) { for (const value of used) this.#disposeNow(value); }
  }

  #op(): Call {
    const { tensors, run, expected } = randomOp(this.#random, this.#backend.ops, this.#hidden().content);
    const used = tensors.map((host) => this.#upload(host));
    return { used, run: () => run(used.map(({ tensor }) => tensor)), expected: () => expected };
  }

  async #capture(): Promise<void> {
    const calls = [this.#op(), ...this.#random.chance(1 / 2) ? [this.#experts(undefined)] : []];
    this.#values.push(...await this.#captures.capture(this.#backend, calls));
    if (this.#random.chance(1 / 2)) this.#disposeNow(this.#random.pick(calls.flatMap(({ used }) => used)));
  }

  async #download(): Promise<void> {
    const value = this.#pick();
    if (!value) return;
    const { content } = value;
    value.users += 1;
    const copying = this.#backend.download(value.tensor);
    if (this.#random.chance(1 / 3)) this.#disposeNow(value);
    this.#track(copying.then((copy) => {
      value.users -= 1;
      assertSame(copy, content);
    }));
    if (this.#random.chance(1 / 2)) await this.#settle();
  }

  async #read(): Promise<void> {
    const value = this.#pick(({ content }) => content.data.length > 0);
    if (!value) return;
    const copy: number[] = [], throws = this.#random.chance(1 / 4), action = this.#reentrant(value);
    value.users += 1;
    const reading = this.#backend.read(value.tensor, async (piece) => {
      if (throws) fail();
      await action();
      for (const value of piece) copy.push(value);
    });
    if (throws) await assertRejects(() => reading, CallbackError);
    else await reading;
    value.users -= 1;
    if (!throws) assertEquals(copy, [...value.content.data]);
  }

  async #fill(): Promise<void> {
    const value = this.#pick(({ users, content }) => users === 0 && content.dtype === "f32" && content.data.length > 0);
    if (!value) return;
    const content = this.#integers(value.content.shape, 2);
    const throws = this.#random.chance(1 / 4), action = this.#reentrant(value);
    value.content = undefined as unknown as Tensor; // unspecified while it is filled
    const filling = this.#backend.fill(value.tensor, async (piece, start) => {
      await action();
      if (throws) fail();
      piece.set(content.data.subarray(start, start + piece.length));
    });
    if (throws) return void await assertRejects(() => filling, CallbackError);
    await filling;
    value.content = content;
  }

  /** What a callback does while a transfer runs: it calls the backend, or disposes a tensor, even that of the transfer. */
  #reentrant(transferred: Value): () => void | Promise<void> {
    const actions = [
      () => {},
      () => this.#disposeNow(this.#pick()),
      () => this.#disposeNow(transferred),
      () => void this.#upload(this.#matrix()),
      async () => {
        const other = this.#pick((value) => value !== transferred);
        if (other) assertSame(await this.#backend.download(other.tensor), other.content);
      },
    ];
    return this.#random.pick(actions) ?? (() => {});
  }

  /** Checks a tensor, or begins to, and disposes it. */
  async #dispose(): Promise<void> {
    const value = this.#pick();
    if (!value) return;
    if (this.#random.chance(1 / 2)) await this.#check(value);
    this.#disposeNow(value);
  }

  #disposeNow(value: Value | undefined): void {
    value?.tensor[Symbol.dispose]();
    if (value) value.isDisposed = true;
  }

  async #check({ tensor, content }: Value): Promise<void> {
    if (content) assertSame(await this.#backend.download(tensor), content);
  }

  /** Disposes a tensor again, and uses it: every function must refuse it. */
  async #useDisposed(): Promise<void> {
    const value = this.#random.pick(this.#values.filter(({ isDisposed }) => isDisposed));
    if (!value) return;
    const { tensor } = value, backend = this.#backend;
    tensor[Symbol.dispose]();
    const uses = [
      () => backend.download(tensor),
      () => backend.read(tensor, () => assert(false, "a disposed tensor was read")),
      () => backend.fill(tensor, () => assert(false, "a disposed tensor was filled")),
      async () => await backend.ops.indexSelect(tensor, this.#upload(randomIntegers(this.#random, [1], 0, 0)).tensor),
    ];
    await assertRejects(async () => await this.#random.pick(uses)?.(), TypeError);
  }

  /** A call whose shapes do not match must fail and leave nothing behind. */
  async #wrongCall(): Promise<void> {
    const { ops } = this.#backend;
    const value = this.#hidden();
    const before = this.#pending.size === 0 ? this.#backend.memory.liveBytes : undefined;
    await assertRejects(() => ops.linear(value.tensor, value.tensor, { dtype: "i32" }), TypeError);
    await assertRejects(() => ops.batchedMatmul(value.tensor, value.tensor), RangeError);
    if (before !== undefined) assertEquals(this.#backend.memory.liveBytes, before, "live bytes after an error");
  }
}
