// A fake libnccl. It is part of the emulator's library, so that its calls run in stream order and are captured like kernels.
//
// Each rank is a process. The id of a communicator names a folder, and a message is a file in it: a rank writes the file under a
// temporary name and renames it, and the receiver waits for it. All sends of a group come first, so no wait is circular.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "driver.h"

namespace emulator {
namespace {

enum Result { kSuccess, kUnhandledCudaError, kSystemError, kInternalError, kInvalidArgument, kInvalidUsage };
constexpr int kFloat32 = 7, kSum = 0;
constexpr size_t kIdBytes = 128;

struct Comm {
  std::string folder;
  int rank, ranks;
  std::vector<unsigned> sent, received;  // messages to and from each rank
  std::atomic<bool> aborted{false};
  std::shared_ptr<int> graphs = std::make_shared<int>(0);  // shared with every captured operation
};

// One message. `kind` is the call that it belongs to.
struct Message {
  Comm* comm;
  bool is_send;
  char kind;
  int peer;
  uint64_t pointer;
  size_t bytes;
};

std::map<Comm*, std::unique_ptr<Comm>> communicators;
std::string last_error;
long calls, fail_call, die_call;
int fail_code = kSystemError;
thread_local int depth;
thread_local bool group_failed;  // a failed call ends its group without any work
thread_local std::vector<Message> group;
thread_local CUstream group_stream;

// Returns the number after a key of YAMOE_NCCL.
long option(const char* key, long otherwise) {
  const char* const text = getenv("YAMOE_NCCL");
  const char* const found = text ? strstr(text, key) : nullptr;
  return found ? atol(found + strlen(key)) : otherwise;
}

// YAMOE_NCCL="fail=n,code=c" makes the n-th call fail, "die=n" kills the process at the n-th call. "rank=r" limits that to one rank.
__attribute__((constructor)) void read_environment() {
  const char* const own = getenv("RANK");
  if (const long rank = option("rank=", -1); rank >= 0 && (!own || atol(own) != rank)) return;
  fail_call = option("fail=", 0);
  fail_code = option("code=", kSystemError);
  die_call = option("die=", 0);
}

int refuse_call(int result, const std::string& reason) {
  last_error = reason;
  refuse(CUDA_ERROR_INVALID_VALUE, reason);
  if (depth > 0) group_failed = true;
  return result;
}

int begin_nccl() {
  ++calls;
  if (calls == die_call) raise(SIGKILL);
  if (calls == fail_call) return refuse_call(fail_code, "an injected fault");
  return kSuccess;
}

int element_bytes(int type) {
  constexpr int kBytes[] = {1, 1, 4, 4, 8, 8, 2, 4, 8, 2, 1, 1};
  return type < 0 || type > 11 ? 0 : kBytes[type];
}

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

// Waits for a file. Returns false if the communicator is aborted. Without an abort, waits forever for a rank that is dead.
bool wait_for(const std::string& path, const Comm* comm) {
  while (!exists(path)) {
    if (comm && comm->aborted) return false;
    usleep(20);
  }
  return true;
}

void write_file(const std::string& path, const std::string& contents) {
  const std::string unfinished = path + ".unfinished";
  FILE* const file = fopen(unfinished.c_str(), "wb");
  if (!file || fwrite(contents.data(), 1, contents.size(), file) != contents.size() || fclose(file) ||
      rename(unfinished.c_str(), path.c_str())) {
    perror("fake NCCL");
    abort();
  }
}

std::string read_file(const std::string& path) {
  std::string contents;
  FILE* const file = fopen(path.c_str(), "rb");
  if (!file) return contents;
  char buffer[65536];
  for (size_t n; (n = fread(buffer, 1, sizeof buffer, file)) > 0;) contents.append(buffer, n);
  fclose(file);
  unlink(path.c_str());
  return contents;
}

std::string message_path(const Comm& comm, int from, int to, unsigned number) {
  return comm.folder + "/" + std::to_string(from) + "-" + std::to_string(to) + "-" + std::to_string(number);
}

void send(const Message& m) {
  std::string contents(1, m.kind);
  contents.append(reinterpret_cast<const char*>(m.pointer), m.bytes);
  write_file(message_path(*m.comm, m.comm->rank, m.peer, m.comm->sent[m.peer]++), contents);
}

// Receives a message, or adds its f32 numbers to the memory for `add`.
CUresult receive(const Message& m, bool add) {
  const std::string path = message_path(*m.comm, m.peer, m.comm->rank, m.comm->received[m.peer]++);
  auto* const to = reinterpret_cast<unsigned char*>(m.pointer);
  if (!wait_for(path, m.comm)) {
    global_written_by_host(m.pointer, m.bytes);  // as the hardware: no error, but not the data
    return CUDA_SUCCESS;
  }
  const std::string contents = read_file(path);
  if (contents.empty() || contents[0] != m.kind || contents.size() - 1 != m.bytes) {
    last_error = "rank " + std::to_string(m.comm->rank) + " expects " + std::to_string(m.bytes) + " bytes from rank " +
                 std::to_string(m.peer) + " (" + m.kind + "), which sends " + std::to_string(contents.size() - 1) + " (" +
                 (contents.empty() ? '?' : contents[0]) + ")";
    return refuse(CUDA_ERROR_INVALID_VALUE, last_error);
  }
  if (add) {
    for (size_t i = 0; i < m.bytes; i += 4) {
      float sum, addend;
      memcpy(&sum, to + i, 4);
      memcpy(&addend, contents.data() + 1 + i, 4);
      sum += addend;
      memcpy(to + i, &sum, 4);
    }
  } else {
    memcpy(to, contents.data() + 1, m.bytes);
  }
  global_written_by_host(m.pointer, m.bytes);
  return CUDA_SUCCESS;
}

CUresult run(const std::vector<Message>& messages) {
  for (const Message& m : messages) {
    if (const char* const problem = global_problem(m.pointer, m.bytes, m.is_send))
      return refuse(CUDA_ERROR_INVALID_VALUE, std::string("NCCL ") + (m.is_send ? "sends" : "receives") + " memory that " + problem);
  }
  for (const Message& m : messages) {
    if (m.is_send) send(m);
  }
  std::set<uint64_t> summed;  // the parts of a reduction all have one target
  for (const Message& m : messages) {
    if (m.is_send) continue;
    const bool add = m.kind == 'r' && !summed.insert(m.pointer).second;
    if (const CUresult result = receive(m, add)) return result;
  }
  return CUDA_SUCCESS;
}

int queue_group() {
  std::vector<Message> messages = std::move(group);
  group.clear();
  const bool failed = group_failed;
  group_failed = false;
  if (failed) return kInvalidUsage;
  if (messages.empty()) return kSuccess;
  if (!has_current_context()) return refuse_call(kUnhandledCudaError, "no context is current");
  const std::shared_ptr<int> token = messages[0].comm->graphs;
  const CUresult result = enqueue(group_stream, [messages, token] { return run(messages); });
  return result ? refuse_call(kInvalidUsage, last_error.empty() ? "the stream refused the work" : last_error) : kSuccess;
}

int end_group() {
  if (depth == 0) return refuse_call(kInvalidUsage, "ncclGroupEnd without ncclGroupStart");
  return --depth == 0 ? queue_group() : kSuccess;
}

int add(Comm* comm, std::vector<Message> messages, int type, int peer, CUstream stream) {
  if (!communicators.count(comm)) return refuse_call(kInvalidArgument, "the communicator does not exist");
  if (comm->aborted) return refuse_call(kInvalidArgument, "the communicator was aborted");
  if (!element_bytes(type) || peer < 0 || peer >= comm->ranks || !is_stream(stream))
    return refuse_call(kInvalidArgument, "a type, a rank or a stream is unknown");
  ++depth;
  group_stream = stream;
  group.insert(group.end(), messages.begin(), messages.end());
  return end_group();
}

}  // namespace
}  // namespace emulator

using namespace emulator;
using Handle = emulator::Comm*;

#define BEGIN_NCCL() \
  if (const int begun = begin_nccl()) return begun

#pragma GCC visibility push(default)
extern "C" {
long emu_nccl_calls() { return calls; }
int emu_nccl_live() {
  int live = 0;
  for (const auto& entry : communicators) live += !entry.second->aborted;
  return live;
}
void emu_nccl_fail(long call, int code) {
  calls = 0;
  fail_call = call;
  fail_code = code;
}

const char* ncclGetLastError(Handle) { return last_error.c_str(); }

int ncclGetVersion(int* version) {
  BEGIN_NCCL();
  *version = 22809;
  return kSuccess;
}

int ncclGetUniqueId(char* id) {
  BEGIN_NCCL();
  const char* const folder = getenv("YAMOE_NCCL_FOLDER");
  memset(id, 0, kIdBytes);
  snprintf(id, kIdBytes, "%s/nccl-XXXXXX", folder ? folder : "/dev/shm");
  return mkdtemp(id) ? kSuccess : refuse_call(kSystemError, "the folder cannot be made");
}

int ncclCommInitRankScalable(Handle* out, int ranks, int rank, int ids, const char* id, void*) {
  BEGIN_NCCL();
  if (rank < 0 || rank >= ranks || ids != 1) return refuse_call(kInvalidArgument, "the rank is out of range");
  if (!has_current_context()) return refuse_call(kUnhandledCudaError, "no context is current");
  auto comm = std::make_unique<Comm>();
  comm->folder = id;
  comm->rank = rank;
  comm->ranks = ranks;
  comm->sent.resize(ranks);
  comm->received.resize(ranks);
  write_file(comm->folder + "/rank" + std::to_string(rank), "");
  for (int r = 0; r < ranks; ++r) wait_for(comm->folder + "/rank" + std::to_string(r), nullptr);
  *out = comm.get();
  communicators[comm.get()] = std::move(comm);
  return kSuccess;
}

int ncclCommDestroy(Handle comm) {
  BEGIN_NCCL();
  if (!communicators.count(comm)) return refuse_call(kInvalidArgument, "the communicator does not exist");
  if (comm->aborted) return refuse_call(kInvalidArgument, "the communicator was aborted");
  // The real library waits forever.
  if (comm->graphs.use_count() > 1) return refuse_call(kInvalidUsage, "a graph with operations of the communicator is live");
  communicators.erase(comm);
  return kSuccess;
}

// Called from another thread while this one waits. The memory stays, because this thread still uses it.
int ncclCommAbort(Handle comm) {
  comm->aborted = true;
  return kSuccess;
}

int ncclGroupStart() {
  BEGIN_NCCL();
  ++depth;
  return kSuccess;
}

int ncclGroupEnd() {
  const int fault = begin_nccl();
  const int result = end_group();
  return fault ? fault : result;
}

int ncclSend(uint64_t from, size_t count, int type, int peer, Handle comm, CUstream stream) {
  BEGIN_NCCL();
  return add(comm, {{comm, true, 'p', peer, from, count * element_bytes(type)}}, type, peer, stream);
}

int ncclRecv(uint64_t to, size_t count, int type, int peer, Handle comm, CUstream stream) {
  BEGIN_NCCL();
  return add(comm, {{comm, false, 'p', peer, to, count * element_bytes(type)}}, type, peer, stream);
}

int ncclAllGather(uint64_t from, uint64_t to, size_t count, int type, Handle comm, CUstream stream) {
  BEGIN_NCCL();
  const size_t bytes = count * element_bytes(type);
  std::vector<Message> messages;
  for (int r = 0; communicators.count(comm) && r < comm->ranks; ++r) {
    messages.push_back({comm, true, 'g', r, from, bytes});
    messages.push_back({comm, false, 'g', r, to + r * bytes, bytes});
  }
  return add(comm, messages, type, 0, stream);
}

int ncclReduceScatter(uint64_t from, uint64_t to, size_t count, int type, int operation, Handle comm, CUstream stream) {
  BEGIN_NCCL();
  if (type != kFloat32 || operation != kSum) return refuse_call(kInvalidArgument, "only sums of f32 are emulated");
  const size_t bytes = count * element_bytes(type);
  std::vector<Message> messages;
  for (int r = 0; communicators.count(comm) && r < comm->ranks; ++r) {
    messages.push_back({comm, true, 'r', r, from + r * bytes, bytes});
    messages.push_back({comm, false, 'r', r, to, bytes});
  }
  return add(comm, messages, type, 0, stream);
}
}
#pragma GCC visibility pop
