// Reads the messages of ptxas.

/**
 * Lists the functions in which ptxas has serialized the wgmma instructions: a wait follows each of them, so that they are several
 * times slower. ptxas only notes this, whatever its reason and the number of the message: too few registers, accumulators that
 * other instructions write, or a call of a function.
 *
 * @param messages What nvcc wrote to standard error with `-Xptxas -v`.
 * @returns Each function with the reason, in the compiler's words.
 */
export function serializedProducts(messages: string): string[] {
  return [...messages.matchAll(/wgmma\S* instructions are serialized\s+(.*)/g)].map(([, reason = ""]) => reason.trim());
}
