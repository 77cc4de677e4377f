// The emulated counterpart of cuda/ptx_announce.cuh.
#pragma once
#include <ptx.cuh>

namespace yamoe {

using emulator::Where;

inline void announce(int* counter, Where where = Where::here()) { emulator::announce(counter, where); }
inline void wait_for_announcements(const int* counter, int count, Where where = Where::here()) {
  emulator::wait_for_announcements(counter, count, where);
}

}  // namespace yamoe
