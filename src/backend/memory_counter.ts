import type { MemoryStatistics } from "./backend.ts";

/** Counts the bytes of live tensors and their peak. */
export class MemoryCounter implements MemoryStatistics {
  /** Bytes now. */
  liveBytes = 0;
  /** The most bytes since the last {@linkcode MemoryCounter.prototype.reset}. */
  peakBytes = 0;

  /** Counts bytes that are taken. */
  take(bytes: number): void {
    this.liveBytes += bytes;
    this.peakBytes = Math.max(this.peakBytes, this.liveBytes);
  }

  /** Counts bytes that are given back. */
  give(bytes: number): void {
    this.liveBytes -= bytes;
  }

  /** Lets the peak start again from what is live. */
  reset(): void {
    this.peakBytes = this.liveBytes;
  }
}
