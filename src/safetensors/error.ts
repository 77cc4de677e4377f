/** Thrown for a file that is not as the format says, or lacks what is wanted of it. The message names the file and the tensor. */
export class SafetensorsError extends Error {
  /** The class's name. */
  override name = "SafetensorsError";
}

/** A name from a file, safe to print: in quotes, control characters escaped, cut where it is long. */
export function quote(name: string): string {
  const most = 120;
  const cut = name.length > most ? `${name.slice(0, most)}…` : name;
  return JSON.stringify(cut).replace(
    /[\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
