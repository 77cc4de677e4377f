// Streams, events and graphs. Work runs when it is queued. Captured work runs when its graph is launched.
#include <ctime>

#include "driver.h"

namespace emulator {
namespace {

Stream* as_stream(CUstream handle) {
  const auto it = live().streams.find(reinterpret_cast<Stream*>(handle));
  return it == live().streams.end() ? nullptr : it->first;
}

double milliseconds() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1e3 + time.tv_nsec * 1e-6;
}

CUresult elapsed(float* out, CUevent start, CUevent end) {
  const auto a = live().events.find(reinterpret_cast<Event*>(start)),
             b = live().events.find(reinterpret_cast<Event*>(end));
  if (a == live().events.end() || b == live().events.end()) return CUDA_ERROR_INVALID_HANDLE;
  if (a->first->milliseconds < 0 || b->first->milliseconds < 0) return CUDA_ERROR_INVALID_HANDLE;
  *out = static_cast<float>(b->first->milliseconds - a->first->milliseconds);
  return CUDA_SUCCESS;
}

}  // namespace

bool is_stream(CUstream stream) { return !stream || as_stream(stream); }

CUresult enqueue(CUstream handle, std::function<CUresult()> work) {
  Stream* const stream = as_stream(handle);
  if (handle && !stream) return CUDA_ERROR_INVALID_HANDLE;
  if (!stream || !stream->capturing) return work();
  stream->capturing->nodes.push_back(std::move(work));
  return CUDA_SUCCESS;
}

CUresult forbid_capture() {
  for (const auto& [stream, owned] : live().streams) {
    if (stream->capturing) return refuse(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "a stream is being captured");
  }
  return CUDA_SUCCESS;
}

}  // namespace emulator

using namespace emulator;

#pragma GCC visibility push(default)
extern "C" {
CUresult cuStreamCreate(CUstream* handle, unsigned flags) {
  BEGIN(kContext);
  if (flags > CU_STREAM_NON_BLOCKING) return CUDA_ERROR_INVALID_VALUE;
  auto stream = std::make_unique<Stream>();
  *handle = reinterpret_cast<CUstream>(stream.get());
  live().streams[stream.get()] = std::move(stream);
  return CUDA_SUCCESS;
}

CUresult cuStreamCreateWithPriority(CUstream* handle, unsigned flags, int) { return cuStreamCreate(handle, flags); }

// Work runs when it is queued, so what the event marks has run.
CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned) {
  BEGIN(kContext);
  if (!is_stream(stream) || !live().events.count(reinterpret_cast<Event*>(event))) return CUDA_ERROR_INVALID_HANDLE;
  return CUDA_SUCCESS;
}

CUresult cuStreamDestroy_v2(CUstream handle) {
  BEGIN(kContext);
  return live().streams.erase(reinterpret_cast<Stream*>(handle)) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuStreamSynchronize(CUstream handle) {
  BEGIN(kContext);
  if (!is_stream(handle)) return CUDA_ERROR_INVALID_HANDLE;
  return forbid_capture();
}

CUresult cuEventCreate(CUevent* handle, unsigned) {
  BEGIN(kContext);
  auto event = std::make_unique<Event>();
  *handle = reinterpret_cast<CUevent>(event.get());
  live().events[event.get()] = std::move(event);
  return CUDA_SUCCESS;
}

CUresult cuEventDestroy_v2(CUevent handle) {
  BEGIN(kContext);
  return live().events.erase(reinterpret_cast<Event*>(handle)) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuEventRecord(CUevent handle, CUstream stream) {
  BEGIN(kContext);
  const auto it = live().events.find(reinterpret_cast<Event*>(handle));
  if (it == live().events.end()) return CUDA_ERROR_INVALID_HANDLE;
  Event* const event = it->first;
  return enqueue(stream, [event] {
    event->milliseconds = milliseconds();
    return CUDA_SUCCESS;
  });
}

CUresult cuEventSynchronize(CUevent handle) {
  BEGIN(kContext);
  if (!live().events.count(reinterpret_cast<Event*>(handle))) return CUDA_ERROR_INVALID_HANDLE;
  return forbid_capture();
}

CUresult cuEventElapsedTime_v2(float* out, CUevent start, CUevent end) {
  BEGIN(kContext);
  return elapsed(out, start, end);
}

CUresult cuStreamBeginCapture_v2(CUstream handle, CUstreamCaptureMode) {
  BEGIN(kContext);
  Stream* const stream = as_stream(handle);
  if (!stream) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  if (stream->capturing) return CUDA_ERROR_ILLEGAL_STATE;
  stream->capturing = std::make_unique<Graph>();
  return CUDA_SUCCESS;
}

CUresult cuStreamEndCapture(CUstream handle, CUgraph* out) {
  BEGIN(kContext);
  Stream* const stream = as_stream(handle);
  if (!stream || !stream->capturing) return CUDA_ERROR_ILLEGAL_STATE;
  auto graph = std::move(stream->capturing);
  *out = reinterpret_cast<CUgraph>(graph.get());
  live().graphs[graph.get()] = std::move(graph);
  return CUDA_SUCCESS;
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec* out, CUgraph handle, unsigned long long) {
  BEGIN(kContext);
  const auto it = live().graphs.find(reinterpret_cast<Graph*>(handle));
  if (it == live().graphs.end()) return CUDA_ERROR_INVALID_HANDLE;
  auto executable = std::make_unique<Graph>(*it->first);
  *out = reinterpret_cast<CUgraphExec>(executable.get());
  live().executables[executable.get()] = std::move(executable);
  return CUDA_SUCCESS;
}

CUresult cuGraphLaunch(CUgraphExec handle, CUstream stream) {
  BEGIN(kContext);
  const auto it = live().executables.find(reinterpret_cast<Graph*>(handle));
  if (it == live().executables.end() || !is_stream(stream)) return CUDA_ERROR_INVALID_HANDLE;
  for (const auto& node : it->first->nodes) {
    if (const CUresult result = node()) return result;
    if (sticky_error()) break;
  }
  return CUDA_SUCCESS;
}

CUresult cuGraphDestroy(CUgraph handle) {
  BEGIN(kContext);
  return live().graphs.erase(reinterpret_cast<Graph*>(handle)) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuGraphExecDestroy(CUgraphExec handle) {
  BEGIN(kContext);
  return live().executables.erase(reinterpret_cast<Graph*>(handle)) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}
}
#pragma GCC visibility pop
