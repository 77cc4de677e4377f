/** Thrown by calls over several ranks after a rank has ended or failed. The results of running calls are then wrong. */
export class RankLostError extends Error {
  /** The class's name. */
  override name = "RankLostError";
}
