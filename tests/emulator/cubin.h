// The kernels of an image, as the image describes them.
#pragma once
#include <cuda.h>

#include <map>
#include <string>
#include <vector>

#include "runtime.h"

namespace emulator {

struct Function {
  std::string name;
  struct Parameter {
    unsigned offset, size;
  };
  std::vector<Parameter> parameters;
  unsigned registers = 0, static_bytes = 0, max_threads = 1024;
  bool waits = false;  // for the kernel before it
  size_t dynamic_limit = 48 << 10;
  const Kernel* kernel = nullptr;
};

struct Module {
  std::map<std::string, Function> functions;
};

// Reads a cubin or PTX text for the emulated architecture. Refuses it if it differs from the source of the kernels.
CUresult read_image(const unsigned char* image, int device_architecture, Module& module, std::string& problem);

}  // namespace emulator
