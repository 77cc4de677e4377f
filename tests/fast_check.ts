// The property-based testing library. The version is stated here and pinned in tests/deno.lock, so that users of the tool
// do not download it.
export { default } from "npm:fast-check@4.10.2";
