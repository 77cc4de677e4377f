/** What a record of a run says of the device and its software. Null where it does not apply or is not known. */
export interface BackendDetails {
  /** The CUDA version that the driver supports. */
  readonly driver: string | null;
  /** The kernels' image. */
  readonly cubin: string | null;
  /** The digest of that image. */
  readonly cubinSha256: string | null;
  /** The device's own identity. */
  readonly deviceUuid: string | null;
  /** Its streaming multiprocessors. */
  readonly multiprocessors: number | null;
  /** Its processors' highest clock, in MHz. */
  readonly clockMhz: number | null;
  /** Its memory's highest clock, in MHz. */
  readonly memoryClockMhz: number | null;
  /** Its memory, in bytes. */
  readonly deviceMemoryBytes: number | null;
}

/** Nothing known. */
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
