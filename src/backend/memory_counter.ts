import type { MemoryStatistics } from "./backend.ts";

/** Counts the bytes of live tensors and their peak. */
export class MemoryCounter implements MemoryStatistics {
  /** The bytes in use. */
  liveBytes = 0;
  /** The most bytes in use since the last {@linkcode MemoryCounter.prototype.reset}. */
  peakBytes = 0;

  /** Counts allocated bytes. */
  take(bytes: number): void {
    this.liveBytes += bytes;
    this.peakBytes = Math.max(this.peakBytes, this.liveBytes);
  }

  /** Counts freed bytes. */
  give(bytes: number): void {
    this.liveBytes -= bytes;
  }

  /** Resets the peak to the bytes that are live now. */
  reset(): void {
    this.peakBytes = this.liveBytes;
  }
}
