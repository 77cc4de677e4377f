// Keeps the stream busy while the host queues the work that a clock measures, so that the clock starts when all of it is
// queued. One thread polls a flag in host memory: it uses neither the caches nor the bandwidth of the device.
#include <ptx.cuh>

namespace yamoe {

struct WaitArguments {
  const int* flag;   // in host memory
  int ticket;        // wait until the flag is at least this
  int microseconds;  // the maximum time to wait
};

}  // namespace yamoe

// One thread.
extern "C" __global__ void __launch_bounds__(1) wait_for_host(const yamoe::WaitArguments p) {
  yamoe::wait_for_previous_kernel();
  yamoe::wait_for_flag(p.flag, p.ticket, p.microseconds);
}
