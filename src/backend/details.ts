/** Facts about the device and its software, for records of a run. Null means that a fact does not apply or is unknown. */
export interface BackendDetails {
  /** The CUDA version that the driver supports. */
  readonly driver: string | null;
  /** The name of the kernel image. */
  readonly cubin: string | null;
  /** The SHA-256 digest of the kernel image. */
  readonly cubinSha256: string | null;
  /** The UUID of the device. */
  readonly deviceUuid: string | null;
  /** The number of streaming multiprocessors. */
  readonly multiprocessors: number | null;
  /** The highest clock of the processors, in MHz. */
  readonly clockMhz: number | null;
  /** The highest clock of the memory, in MHz. */
  readonly memoryClockMhz: number | null;
  /** The memory of the device, in bytes. */
  readonly deviceMemoryBytes: number | null;
}

/** The details of a backend that knows none. */
export const noDetails: BackendDetails = {
  driver: null,
  cubin: null,
  cubinSha256: null,
  deviceUuid: null,
  multiprocessors: null,
  clockMhz: null,
  memoryClockMhz: null,
  deviceMemoryBytes: null,
};
