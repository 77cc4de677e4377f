"""Measures PyTorch on the same GPU: two floors, and the reference job by other operations.

Usage: python3 pytorch.py '{"tokens": T, "hidden": H, "intermediate": I, "experts": E, "topK": K, "capacity": C}'
Prints one JSON object. Times are medians in milliseconds, measured with CUDA events. Data is N(0, 1), scaled as in the job.
"""
import json
import sys

import torch

job = json.loads(sys.argv[1])
T, H, I, E, K, C = (job[name] for name in ("tokens", "hidden", "intermediate", "experts", "topK", "capacity"))
C = C or T
device, half = "cuda", torch.float16


def median_ms(call, runs=20, warmup=5):
    times = []
    for _ in range(warmup + runs):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        result = call()
        end.record()
        end.synchronize()
        del result
        times.append(start.elapsed_time(end))
    return sorted(times[warmup:])[runs // 2]


def randn(*shape, scale=1.0, dtype=half):
    return torch.randn(*shape, device=device, dtype=dtype).mul_(scale)


result = {"torch": torch.__version__, "device": torch.cuda.get_device_name()}

# The floors: bytes read and written by a large copy, and a large product.
source = randn(2**31)
target = torch.empty_like(source)
result["copyBytesPerSecond"] = 2 * source.nbytes / median_ms(lambda: target.copy_(source)) * 1e3
del source, target
a, b = randn(8192, 8192), randn(8192, 8192)
result["productFlops"] = 2 * 8192**3 / median_ms(lambda: a @ b) * 1e3
del a, b

torch.manual_seed(0)
hidden = randn(T, H, scale=0.1)
gate_up, gate_up_bias = randn(E, H, 2 * I, scale=0.02), torch.zeros(E, 2 * I, device=device, dtype=half)
down, down_bias = randn(E, I, H, scale=0.02), torch.zeros(E, H, device=device, dtype=half)
weights, indices = torch.topk(torch.softmax(torch.randn(T, E, device=device), -1), K, dim=-1)
weights = weights.half()


def activation(g):
    gate, up = g[..., ::2].clamp(max=7), g[..., 1::2].clamp(-7, 7)
    return gate * torch.sigmoid(gate * 1.702) * (up + 1)


def sort_assignments():
    flat = indices.reshape(-1)
    order = torch.sort(flat, stable=True)[1]
    counts = torch.bincount(flat, minlength=E)
    return order, counts, torch.cumsum(counts, 0) - counts


def padded():
    """The original's sequence of operations: stable sort, padded gather, bmm, GLU, bmm, weighted scatter-add."""
    order, counts, starts = sort_assignments()
    slots = torch.arange(C, device=device)
    valid = slots < counts[:, None]
    chosen = order[(starts[:, None] + slots).clamp(max=order.numel() - 1)]
    tokens = chosen // K
    g = torch.bmm(hidden[tokens] * valid[..., None], gate_up).add_(gate_up_bias[:, None])
    y = torch.bmm(activation(g), down).add_(down_bias[:, None])
    scale = weights.reshape(-1)[chosen] * valid
    out = torch.zeros(T, H, device=device, dtype=half)
    return out.index_add_(0, tokens.reshape(-1), (y * scale[..., None]).view(-1, H))


def grouped(dtype, gate_up, down):
    """The kept rows only: index_select, torch._grouped_mm, GLU, torch._grouped_mm, index_add."""
    x, w = hidden.to(dtype), weights.to(dtype)
    kept = min(T * K, E * C)

    def call():
        order, counts, starts = sort_assignments()
        counts = counts.clamp(max=C)
        ends = torch.cumsum(counts, 0)
        row = torch.arange(kept, device=device)
        expert = torch.searchsorted(ends, row, right=True).clamp(max=E - 1)
        chosen = order[(starts[expert] + row - (ends - counts)[expert]).clamp(max=order.numel() - 1)]
        tokens = chosen // K
        offsets = ends.to(torch.int32)
        g = torch._grouped_mm(x.index_select(0, tokens), gate_up, offs=offsets)
        y = torch._grouped_mm(activation(g), down, offs=offsets)
        out = torch.zeros(T, H, device=device, dtype=dtype)
        return out.index_add_(0, tokens, y * w.reshape(-1)[chosen][:, None])

    return call


def measure(name, make):
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    try:
        call = make()
        result[name] = {"ms": median_ms(call, runs=10, warmup=2), "peakMb": torch.cuda.max_memory_allocated() / 2**20}
    except Exception as error:  # this build lacks the operation, or the GPU is out of memory
        result[name] = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:200]}


measure("padded", lambda: padded)
measure("groupedF16", lambda: grouped(half, gate_up, down))
gate_up, down = gate_up.bfloat16(), down.bfloat16()
measure("groupedBf16", lambda: grouped(torch.bfloat16, gate_up, down))
print(json.dumps(result))
