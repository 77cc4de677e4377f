// Tables from token ids to experts (DeepSeek-V4's first layers).
import { describeValue, formatShape, type Tensor, zeros } from "../tensor/tensor.ts";

/**
 * Looks up the experts of tokens.
 *
 * @param table [V, K], i32.
 * @param ids The token ids.
 * @param experts E.
 * @returns [T, K], i32.
 * @throws {RangeError} If an id is not in the table, or the table has an expert that does not exist.
 */
export function expertsOfTokens(table: Tensor, ids: ArrayLike<number>, experts: number): Tensor {
  const [vocabulary, topK] = table.shape as [number, number];
  const chosen = zeros("i32", [ids.length, topK]);
  for (let t = 0; t < ids.length; t++) {
    const id = ids[t]!;
    if (!(Number.isInteger(id) && id >= 0 && id < vocabulary)) {
      throw new RangeError(
        `tokenIds must be in the layer's token table of shape ${formatShape(table.shape)}, got ${describeValue(id)}`,
      );
    }
    chosen.data.set(table.data.subarray(id * topK, (id + 1) * topK), t * topK);
  }
  const wrong = chosen.data.find((expert) => !(expert >= 0 && expert < experts));
  if (wrong === undefined) return chosen;
  throw new RangeError(`The token table must have experts from 0 to ${experts - 1}, got ${wrong}`);
}
