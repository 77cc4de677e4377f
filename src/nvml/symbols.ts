// The functions of the NVIDIA Management Library that are used, under their C names, with their prototypes from nvml.h. The
// handle of a device is a pointer, which travels as u64.

export const symbols = {
  nvmlInit_v2: { parameters: [], result: "i32" }, // (void)
  nvmlDeviceGetHandleByUUID: { parameters: ["buffer", "buffer"], result: "i32" }, // (const char *uuid, nvmlDevice_t *device)
  nvmlDeviceGetClockInfo: { parameters: ["u64", "i32", "buffer"], result: "i32" }, // (nvmlDevice_t device, nvmlClockType_t type, unsigned int *clock)
  nvmlDeviceGetPowerUsage: { parameters: ["u64", "buffer"], result: "i32" }, // (nvmlDevice_t device, unsigned int *power)
  nvmlDeviceGetTemperature: { parameters: ["u64", "i32", "buffer"], result: "i32" }, // (nvmlDevice_t device, nvmlTemperatureSensors_t sensorType, unsigned int *temp)
  nvmlDeviceGetTotalEnergyConsumption: { parameters: ["u64", "buffer"], result: "i32" }, // (nvmlDevice_t device, unsigned long long *energy)
  nvmlDeviceGetCurrentClocksThrottleReasons: { parameters: ["u64", "buffer"], result: "i32" }, // (nvmlDevice_t device, unsigned long long *clocksThrottleReasons)
} as const satisfies Deno.ForeignLibraryInterface;
