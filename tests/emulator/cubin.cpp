// Reads cubins, which are ELF files. nvcc describes kernels in `.nv.info` (for all) and `.nv.info.<kernel>`: records of a format, an
// attribute and, for format 4, a length and a payload.
#include "cubin.h"

#include <elf.h>

#include <cstring>

namespace emulator {
namespace {

constexpr int kMachineCuda = 190;
constexpr unsigned char kEntryFlag = 0x10;  // in a symbol's st_other: a kernel, not a device function
constexpr unsigned kReservedShared = 1024;  // part of the static size from sm_90 on
constexpr unsigned kWaitOpcode = 0x82e;  // griddepcontrol.wait, from sm_90 on
constexpr unsigned kInstructionBytes = 16;
enum : unsigned char { kMaxThreads = 0x05, kParameter = 0x17, kRegisters = 0x2f };

template <class T>
T read(const unsigned char* from) {
  T value;
  memcpy(&value, from, sizeof value);
  return value;
}

template <class Visit>
void each_record(const unsigned char* at, const unsigned char* end, Visit visit) {
  while (at + 4 <= end) {
    const unsigned length = at[0] == 4 ? read<uint16_t>(at + 2) : 0;
    visit(at[1], at + 4);
    at += 4 + length;
  }
}

bool is_same_parameters(const Function& function) {
  const auto& expected = function.kernel->parameter_sizes;
  if (function.parameters.size() != expected.size()) return false;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (function.parameters[i].size != expected[i]) return false;
  }
  return true;
}

// Finds the emulated kernel of each function and compares the parameters of both.
CUresult match_with_source(Module& module, std::string& problem) {
  for (auto& [name, function] : module.functions) {
    const auto kernel = kernels().find(name);
    if (kernel == kernels().end()) {
      problem = "the image is stale: the source has no kernel " + name;
      return CUDA_ERROR_INVALID_IMAGE;
    }
    function.kernel = &kernel->second;
    if (function.parameters.empty() && !function.kernel->parameter_sizes.empty())
      continue;  // PTX: the caller fills them in
    if (!is_same_parameters(function)) {
      problem = "the image is stale: the parameters of " + name + " differ from the source";
      return CUDA_ERROR_INVALID_IMAGE;
    }
  }
  return CUDA_SUCCESS;
}

CUresult read_elf(const unsigned char* image, int device, Module& module, std::string& problem) {
  const auto header = read<Elf64_Ehdr>(image);
  const int built_for = header.e_ident[EI_ABIVERSION] >= 8 ? header.e_flags >> 8 & 0xff : header.e_flags & 0xff;
  if (built_for / 10 != device / 10 || built_for > device) {
    problem = "the image is for sm_" + std::to_string(built_for) + ", the device is sm_" + std::to_string(device);
    return CUDA_ERROR_NO_BINARY_FOR_GPU;
  }
  std::vector<Elf64_Shdr> sections(header.e_shnum);
  memcpy(sections.data(), image + header.e_shoff, sections.size() * sizeof(Elf64_Shdr));
  const auto* const names = reinterpret_cast<const char*>(image + sections[header.e_shstrndx].sh_offset);

  std::map<unsigned, Function*> by_symbol;
  for (const Elf64_Shdr& section : sections) {
    if (section.sh_type != SHT_SYMTAB) continue;
    const auto* const strings = reinterpret_cast<const char*>(image + sections[section.sh_link].sh_offset);
    for (unsigned i = 0; i < section.sh_size / sizeof(Elf64_Sym); ++i) {
      const auto symbol = read<Elf64_Sym>(image + section.sh_offset + i * sizeof(Elf64_Sym));
      if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC || !(symbol.st_other & kEntryFlag)) continue;
      Function& function = module.functions[strings + symbol.st_name];
      function.name = strings + symbol.st_name;
      by_symbol[i] = &function;
    }
  }

  for (const Elf64_Shdr& section : sections) {
    const std::string name = names + section.sh_name;
    const unsigned char *const begin = image + section.sh_offset, *const end = begin + section.sh_size;
    const auto owner = [&](const char* prefix) -> Function* {
      if (name.rfind(prefix, 0) != 0) return nullptr;
      const auto it = module.functions.find(name.substr(strlen(prefix)));
      return it == module.functions.end() ? nullptr : &it->second;
    };
    if (Function* const function = owner(".text.")) {
      for (const unsigned char* at = begin; built_for >= 90 && at < end; at += kInstructionBytes) {
        function->waits |= (read<uint16_t>(at) & 0xfff) == kWaitOpcode;
      }
    } else if (Function* const function = owner(".nv.shared.")) {
      function->static_bytes = section.sh_size - (built_for >= 90 ? kReservedShared : 0);
    } else if (Function* const function = owner(".nv.info.")) {
      each_record(begin, end, [&](unsigned char attribute, const unsigned char* payload) {
        if (attribute == kParameter) {
          const unsigned ordinal = read<uint16_t>(payload + 4);
          if (function->parameters.size() <= ordinal) function->parameters.resize(ordinal + 1);
          function->parameters[ordinal] = {read<uint16_t>(payload + 6), read<uint32_t>(payload + 8) >> 18};
        } else if (attribute == kMaxThreads) {
          function->max_threads = read<uint32_t>(payload) * read<uint32_t>(payload + 4) * read<uint32_t>(payload + 8);
        }
      });
    } else if (name == ".nv.info") {
      each_record(begin, end, [&](unsigned char attribute, const unsigned char* payload) {
        if (attribute != kRegisters) return;
        const auto it = by_symbol.find(read<uint32_t>(payload));
        if (it != by_symbol.end()) it->second->registers = read<uint32_t>(payload + 4);
      });
    }
  }
  return match_with_source(module, problem);
}

// PTX is text. Parameters are laid out as in a C structure.
CUresult read_ptx(const char* text, int device, Module& module, std::string& problem) {
  const int target = atoi(strstr(text, ".target sm_") + strlen(".target sm_"));
  if (target > device) {
    problem = "the PTX is for sm_" + std::to_string(target) + " and newer";
    return CUDA_ERROR_INVALID_PTX;
  }
  for (const char* at = text; (at = strstr(at, ".entry "));) {
    at += strlen(".entry ");
    const std::string name(at, strcspn(at, "( \n"));
    module.functions[name].name = name;
  }
  if (const CUresult result = match_with_source(module, problem)) return result;
  for (auto& [name, function] : module.functions) {
    unsigned offset = 0;
    for (const size_t size : function.kernel->parameter_sizes) {
      offset = (offset + size - 1) / size * size;  // all are scalars
      function.parameters.push_back({offset, static_cast<unsigned>(size)});
      offset += size;
    }
  }
  return CUDA_SUCCESS;
}

}  // namespace

CUresult read_image(const unsigned char* image, int device, Module& module, std::string& problem) {
  if (memcmp(image, ELFMAG, SELFMAG) == 0 && read<Elf64_Ehdr>(image).e_machine == kMachineCuda) {
    return read_elf(image, device, module, problem);
  }
  if (memcmp(image, "//", 2) == 0 && strstr(reinterpret_cast<const char*>(image), ".target sm_")) {
    return read_ptx(reinterpret_cast<const char*>(image), device, module, problem);
  }
  problem = "the image is neither a cubin nor PTX";
  return CUDA_ERROR_INVALID_IMAGE;
}

}  // namespace emulator
