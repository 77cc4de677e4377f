// A management library with one GPU, whose state depends on the number of reads. It is compiled by nvml_test.ts.
#include <string.h>

typedef struct { int reads; } device;
static device gpu;
static int initialized;

int nvmlInit_v2(void) { initialized = 1; return 0; }

int nvmlDeviceGetHandleByUUID(const char *uuid, device **found) {
  if (!initialized) return 1;
  if (strcmp(uuid, "GPU-00000000-0000-0000-0000-000000000001") != 0) return 6;
  *found = &gpu;
  return 0;
}

int nvmlDeviceGetClockInfo(device *d, int type, unsigned int *clock) {
  if (d != &gpu) return 2;
  if (type == 1) *clock = 1980 - 15 * (d->reads++ > 1);
  else if (type == 2) *clock = 2619;
  else return 2;
  return 0;
}

int nvmlDeviceGetPowerUsage(device *d, unsigned int *power) { *power = 650500; return d == &gpu ? 0 : 2; }

int nvmlDeviceGetTemperature(device *d, int sensor, unsigned int *temp) {
  *temp = 60 + d->reads;
  return sensor == 0 ? 0 : 2;
}

int nvmlDeviceGetTotalEnergyConsumption(device *d, unsigned long long *energy) {
  *energy = 5000000000ull + 2000ull * d->reads;
  return 0;
}

int nvmlDeviceGetCurrentClocksThrottleReasons(device *d, unsigned long long *reasons) {
  *reasons = d->reads > 2 ? 0x4 | 0x1 : 0x1;
  return 0;
}
