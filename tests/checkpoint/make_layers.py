"""Makes fixtures/layers: one tiny layer per family, named as in its checkpoint, with an input and PyTorch's float32 output.

Run with PyTorch 1.13 or later:  python3 tests/checkpoint/make_layers.py fixtures/layers
Each family follows its model's code, with linear layers and loops over experts. It shares no code with the product.
Weights are stored in the file's dtype, and the output is computed in float32 from the stored values.
"""
import json, os, struct, sys
import torch
import torch.nn.functional as F

BLOCK = (16, 32)  # of the FP8 layer with several blocks, some of them partial
NAMES = {torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32", torch.uint8: "U8"}


def save(path, tensors):
    header, data, end = {}, b"", 0
    for name, value in tensors.items():
        stored = "F8_E4M3" if name.endswith(FP8_SUFFIX) and value.dtype == torch.uint8 else NAMES[value.dtype]
        raw = value.contiguous().view(torch.uint8) if value.dtype == torch.uint8 else value.contiguous()
        raw = bytes(raw.view(torch.int16).numpy().tobytes()) if raw.dtype in (torch.bfloat16, torch.float16) else raw.numpy().tobytes()
        header[name] = {"dtype": stored, "shape": list(value.shape), "data_offsets": [end, end + len(raw)]}
        data += raw
        end += len(raw)
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


FP8_SUFFIX = ("_proj.weight",)
ACTIVATIONS = {
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu-tanh": lambda x: 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3))),
    "relu2": lambda x: F.relu(x) ** 2,
}


def act(kind, gate, up, limit=None):
    if limit is not None:
        gate, up = gate.clamp(max=limit), up.clamp(-limit, limit)
    if kind == "swiglu-oai":
        gate, up = gate.clamp(max=7.0), up.clamp(-7.0, 7.0)
        return (up + 1) * gate * torch.sigmoid(1.702 * gate)
    return ACTIVATIONS[kind](gate) * (1 if up is None else up)


def sparse_mixer(logits, jitter):
    weights, indices, masked = [], [], logits
    for _ in range(2):
        top, index = masked.max(dim=-1, keepdim=True)
        far = (top - logits) / logits.abs().clamp(min=top) > 2 * jitter
        gates = masked.masked_fill(far, float("-inf")).softmax(-1)
        weights.append(gates.gather(-1, index))
        indices.append(index)
        masked = masked.scatter(-1, index, float("-inf"))
    return torch.cat(indices, -1), torch.cat(weights, -1), False


def route(kind, logits, k, bias=None, groups=1, top_groups=1, scale=1.0):
    """Returns indices and weights, and whether the weights scale the input."""
    if kind in ("softmax", "softmax-renormalize"):
        weights, indices = torch.topk(logits.softmax(-1), k, dim=-1)
        return indices, (weights / weights.sum(-1, keepdim=True) if kind != "softmax" else weights) * scale, False
    if kind == "topk-softmax":
        weights, indices = torch.topk(logits, k, dim=-1)
        return indices, weights.softmax(-1) * scale, False
    if kind == "sigmoid-input":
        weights, indices = torch.topk(logits, k, dim=-1)
        return indices, torch.sigmoid(weights), True
    scores = F.softplus(logits).sqrt() if kind == "sqrt-softplus" else logits.sigmoid()
    choice = scores if bias is None else scores + bias
    if groups > 1:
        grouped = choice.view(len(choice), groups, -1)
        best = grouped.topk(2, dim=-1)[0].sum(-1).topk(top_groups, dim=-1)[1]
        mask = torch.zeros_like(grouped[..., 0]).scatter_(1, best, 1).unsqueeze(-1).expand_as(grouped)
        choice = choice.masked_fill(~mask.reshape_as(choice).bool(), float("-inf"))
    indices = choice.topk(k, dim=-1)[1]
    weights = scores.gather(1, indices)
    return indices, weights / (weights.sum(-1, keepdim=True) + 1e-20) * scale, False


def moe(x, expert, indices, weights, on_input):
    out = torch.zeros_like(x)
    for t in range(len(x)):
        for slot in range(indices.shape[1]):
            w = weights[t, slot]
            row = x[t] * w if on_input else x[t]
            y = expert(int(indices[t, slot]), row)
            out[t] += y if on_input else w * y
    return out


class Maker:
    def __init__(self, directory, name, seed, dtype):
        torch.manual_seed(seed)
        self.directory, self.name, self.dtype, self.tensors = directory, name, dtype, {}

    def __call__(self, name, *shape, scale=0.3, dtype=None):
        """Stores a tensor and returns its value in float32."""
        value = (torch.randn(*shape) * scale).to(dtype or self.dtype)
        self.tensors[name] = value
        return value.float()

    def finish(self, x, out, flags, config=None):
        path = os.path.join(self.directory, self.name)
        os.makedirs(path, exist_ok=True)
        save(f"{path}/model.safetensors", self.tensors)
        save(f"{path}/input.safetensors", {"x": x})
        save(f"{path}/expected.safetensors", {"output": out})
        with open(f"{path}/flags.txt", "w") as file:
            file.write(flags + "\n")
        if config:
            with open(f"{path}/config.json", "w") as file:
                json.dump(config, file, indent=1)
                file.write("\n")


T, H, I, E = 7, 48, 40, 8


def linear_experts(make, base, names, activation, experts=E, bias=False, gated=True, limit=None):
    gate, up, down = names
    layers = []
    for e in range(experts):
        prefix = f"{base}experts.{e}."
        g = make(f"{prefix}{gate}.weight", I, H) if gated else None
        u, d = make(f"{prefix}{up}.weight", I, H), make(f"{prefix}{down}.weight", H, I)
        layers.append((g, u, d))

    def run(e, row):
        g, u, d = layers[e]
        a = act(activation, F.linear(row, g), F.linear(row, u), limit) if gated else act(activation, F.linear(row, u), None)
        return F.linear(a, d)

    return run


def shared(make, prefix, width=24, names=("gate_proj", "up_proj", "down_proj"), limit=None):
    gate, up, down = names
    g, u, d = make(f"{prefix}{gate}.weight", width, H), make(f"{prefix}{up}.weight", width, H), make(f"{prefix}{down}.weight", H, width)
    return lambda x: F.linear(act("silu", F.linear(x, g), F.linear(x, u), limit), d)


def fused(make, prefix, activation, interleaved, out_in, bias, gated=True):
    width = 2 * I if gated else I
    name = "gate_up_proj" if gated else "up_proj"
    gu = make(f"{prefix}{name}", *((E, width, H) if out_in else (E, H, width)))
    d = make(f"{prefix}down_proj", *((E, H, I) if out_in else (E, I, H)))
    gub = make(f"{prefix}{name}_bias", E, width) if bias else torch.zeros(E, width)
    db = make(f"{prefix}down_proj_bias", E, H) if bias else torch.zeros(E, H)
    if out_in:
        gu, d = gu.transpose(1, 2), d.transpose(1, 2)

    def run(e, row):
        g = row @ gu[e] + gub[e]
        if not gated:
            a = act(activation, g, None)
        else:
            a = act(activation, g[0::2], g[1::2]) if interleaved else act(activation, g[:I], g[I:])
        return a @ d[e] + db[e]

    return run


def inputs(make):
    x = torch.randn(T, H).to(make.dtype)
    return x, x.float()


def main(directory):
    f32, bf16, f16 = torch.float32, torch.bfloat16, torch.float16

    def logits(x, weight, bias=None):
        return F.linear(x, weight, bias)

    make = Maker(directory, "gpt-oss", 1, f32)
    x, xf = inputs(make)
    base = "model.layers.0.mlp."
    l = logits(xf, make(base + "router.weight", E, H), make(base + "router.bias", E))
    run = fused(make, base + "experts.", "swiglu-oai", True, False, True)
    make.finish(x, moe(xf, run, *route("topk-softmax", l, 4)), "", {"model_type": "gpt_oss", "num_experts_per_tok": 4, "swiglu_limit": 7.0, "hidden_act": "silu"})

    make = Maker(directory, "mixtral", 2, f32)
    x, xf = inputs(make)
    base = "model.layers.3.block_sparse_moe."
    l = logits(xf, make(base + "gate.weight", E, H))
    run = linear_experts(make, base, ("w1", "w3", "w2"), "silu")
    make.finish(x, moe(xf, run, *route("softmax-renormalize", l, 2)), "--top-k 2")

    for name, renormalize in (("qwen3-moe", True), ("olmoe", False)):
        make = Maker(directory, name, 3 + renormalize, f32)
        x, xf = inputs(make)
        base = "model.layers.1.mlp."
        l = logits(xf, make(base + "gate.weight", E, H))
        run = linear_experts(make, base, ("gate_proj", "up_proj", "down_proj"), "silu")
        kind = "softmax-renormalize" if renormalize else "softmax"
        family = "qwen3_moe" if renormalize else "olmoe"
        make.finish(x, moe(xf, run, *route(kind, l, 3)), "", {"model_type": family, "num_experts_per_tok": 3, "norm_topk_prob": renormalize, "hidden_act": "silu"})

    make = Maker(directory, "qwen2-moe", 5, f32)
    x, xf = inputs(make)
    base = "model.layers.1.mlp."
    l = logits(xf, make(base + "gate.weight", E, H))
    run = linear_experts(make, base, ("gate_proj", "up_proj", "down_proj"), "silu")
    y = shared(make, base + "shared_expert.")(xf) * torch.sigmoid(F.linear(xf, make(base + "shared_expert_gate.weight", 1, H)))
    make.finish(x, moe(xf, run, *route("softmax", l, 3)) + y, "--router softmax --top-k 3")

    for name, dtype in (("deepseek-v3", f32), ("deepseek-v3-fp8", bf16)):
        make = Maker(directory, name, 6, dtype)
        x, xf = inputs(make)
        base = "model.layers.4.mlp."
        l = logits(xf, make(base + "gate.weight", E, H))
        bias = make(base + "gate.e_score_correction_bias", E, dtype=f32)
        if dtype == f32:
            run = linear_experts(make, base, ("gate_proj", "up_proj", "down_proj"), "silu")
            y = shared(make, base + "shared_experts.")(xf)
        else:
            fp8 = Fp8(make)
            run = linear_experts(fp8, base, ("gate_proj", "up_proj", "down_proj"), "silu")
            y = shared(fp8, base + "shared_experts.")(xf)
        out = moe(xf, run, *route("sigmoid-grouped", l, 3, bias, 4, 2, 2.5)) + y
        make.finish(x, out, "", {"model_type": "deepseek_v3", "num_experts_per_tok": 3, "n_group": 4, "topk_group": 2, "norm_topk_prob": True, "routed_scaling_factor": 2.5, "scoring_func": "sigmoid", "hidden_act": "silu"})

    make = Maker(directory, "llama-4", 7, f32)
    x, xf = inputs(make)
    base = "language_model.model.layers.2.feed_forward."
    l = logits(xf, make(base + "router.weight", E, H))
    run = fused(make, base + "experts.", "silu", False, False, False)
    y = shared(make, base + "shared_expert.")(xf)
    make.finish(x, moe(xf, run, *route("sigmoid-input", l, 1)) + y, "--top-k 1")

    make = Maker(directory, "granite", 8, f32)
    x, xf = inputs(make)
    base = "model.layers.0.block_sparse_moe."
    l = logits(xf, make(base + "router.layer.weight", E, H))
    gu, d = make(base + "input_linear.weight", E, 2 * I, H), make(base + "output_linear.weight", E, H, I)
    run = lambda e, row: F.linear(act("silu", *F.linear(row, gu[e]).chunk(2)), d[e])
    make.finish(x, moe(xf, run, *route("topk-softmax", l, 3)), "", {"model_type": "granitemoe", "num_experts_per_tok": 3, "hidden_act": "silu"})

    make = Maker(directory, "granite-shared", 10, f32)
    x, xf = inputs(make)
    base = "model.layers.0.block_sparse_moe."
    l = logits(xf, make(base + "router.layer.weight", E, H))
    gu, d = make(base + "input_linear.weight", E, 2 * I, H), make(base + "output_linear.weight", E, H, I)
    sgu, sd = make("model.layers.0.shared_mlp.input_linear.weight", 2 * 24, H), make("model.layers.0.shared_mlp.output_linear.weight", H, 24)
    run = lambda e, row: F.linear(act("silu", *F.linear(row, gu[e]).chunk(2)), d[e])
    y = F.linear(act("silu", *F.linear(xf, sgu).chunk(2, -1)), sd)
    make.finish(x, moe(xf, run, *route("topk-softmax", l, 3)) + y, "", {"model_type": "granitemoeshared", "num_experts_per_tok": 3, "hidden_act": "silu"})

    make = Maker(directory, "phi-3.5", 11, f32)
    x, xf = inputs(make)
    base = "model.layers.0.block_sparse_moe."
    l = logits(xf, make(base + "gate.weight", E, H))
    run = linear_experts(make, base, ("w1", "w3", "w2"), "silu")
    make.finish(x, moe(xf, run, *sparse_mixer(l, 0.1)), "", {"model_type": "phimoe", "num_experts_per_tok": 2, "router_jitter_noise": 0.1, "hidden_act": "silu"})

    make = Maker(directory, "deepseek-v4", 12, f32)
    x, xf = inputs(make)
    base = "layers.3.ffn."
    l = logits(xf, make(base + "gate.weight", E, H))
    bias = make(base + "gate.bias", E, dtype=f32)
    run = linear_experts(make, base, ("w1", "w3", "w2"), "silu", limit=1.5)
    y = shared(make, base + "shared_experts.", names=("w1", "w3", "w2"), limit=1.5)(xf)
    out = moe(xf, run, *route("sqrt-softplus", l, 3, bias, scale=1.5)) + y
    make.finish(x, out, "", {"model_type": "deepseek_v4", "num_experts_per_tok": 3, "scoring_func": "sqrtsoftplus", "routed_scaling_factor": 1.5, "swiglu_limit": 1.5, "hidden_act": "silu"})

    make = Maker(directory, "qwen3-moe-fp8", 13, bf16)
    x, xf = inputs(make)
    base = "model.layers.1.mlp."
    l = logits(xf, make(base + "gate.weight", E, H))
    run = linear_experts(Fp8(make, BLOCK, bf16), base, ("gate_proj", "up_proj", "down_proj"), "silu")
    config = {"model_type": "qwen3_moe", "num_experts_per_tok": 3, "norm_topk_prob": True, "quantization_config": {"weight_block_size": list(BLOCK)}}
    make.finish(x, moe(xf, run, *route("softmax-renormalize", l, 3)), "", config)

    make = Maker(directory, "gpt-oss-mxfp4", 9, bf16)
    x, xf = inputs(make)
    x, xf = torch.randn(T, 64).to(bf16), None
    xf = x.float()
    base = "model.layers.0.mlp."
    l = logits(xf, make(base + "router.weight", E, 64), make(base + "router.bias", E))
    gu, d = mxfp4(make, base + "experts.gate_up_proj", 64, 64), mxfp4(make, base + "experts.down_proj", 64, 32)
    gub, db = make(base + "experts.gate_up_proj_bias", E, 64), make(base + "experts.down_proj_bias", E, 64)

    def run(e, row):
        g = gu[e] @ row + gub[e]
        return d[e] @ act("swiglu-oai", g[0::2], g[1::2]) + db[e]

    make.finish(x, moe(xf, run, *route("topk-softmax", l, 4)), "--top-k 4")

    plain = [
        ("swiglu-oai", True, False, True, True, "softmax", f16),
        ("silu", True, True, False, True, "sqrt-softplus", f32),
        ("gelu", False, False, True, True, "sigmoid", f32),
        ("gelu-tanh", False, True, True, True, "sigmoid-input", bf16),
        ("relu2", True, True, True, True, "softmax-renormalize", bf16),
        ("silu", False, False, False, False, "topk-softmax", f32),
        ("gelu", False, True, True, False, "sigmoid-grouped", f32),
        ("gelu-tanh", False, False, False, False, "softmax", f16),
        ("relu2", False, True, False, False, "sigmoid-input", f32),
    ]
    for i, (activation, interleaved, out_in, bias, gated, kind, dtype) in enumerate(plain):
        make = Maker(directory, f"plain-{i}", 20 + i, dtype)
        x, xf = inputs(make)
        l = logits(xf, make("router.weight", E, H, dtype=f32), make("router.bias", E, dtype=f32))
        correction, options = None, f"--router {kind} --top-k 3 --activation {activation} --logits-dtype f32"
        if kind in ("sigmoid", "sigmoid-grouped", "sqrt-softplus"):
            correction = make("router.correction_bias", E, dtype=f32)
            options += " --scale 1.5"
        groups = (4, 2) if kind == "sigmoid-grouped" else (1, 1)
        if groups[0] > 1:
            options += " --groups 4 --top-groups 2"
        run = fused(make, "experts.", activation, interleaved, out_in, bias, gated)
        layout = "interleaved" if interleaved else "concatenated"
        options += f" --gate-up-layout {layout} --weight-layout {'out-in' if out_in else 'in-out'}" + ("" if gated else " --ungated")
        scale = 1.5 if correction is not None else 1.0
        make.finish(x, moe(xf, run, *route(kind, l, 3, correction, *groups, scale)), options)


class Fp8:
    """Stores weights as FP8 (E4M3) with a scale for each block. A block of 128 x 128 is larger than these weights."""

    def __init__(self, make, block=(128, 128), dtype=torch.float32):
        self.make, self.block, self.dtype = make, block, dtype

    def __call__(self, name, *shape):
        bits = torch.randint(0, 256, shape, dtype=torch.uint8)
        bits[(bits & 127) == 127] = 0x38
        bits[(bits & 0x78) > 0x48] &= 0x8F  # keeps the sizes below 32
        rows, columns = (-(-size // block) for size, block in zip(shape, self.block))
        scale = (torch.rand(rows, columns) * 0.03 + 0.01).to(self.dtype)
        self.make.tensors[name], self.make.tensors[name + "_scale_inv"] = bits, scale
        scale = scale.float().repeat_interleave(self.block[0], 0).repeat_interleave(self.block[1], 1)[: shape[0], : shape[1]]
        b = bits.int()
        exponent, mantissa = (b >> 3) & 15, (b & 7).float()
        value = torch.where(exponent == 0, mantissa * 2.0**-9, (8 + mantissa) * torch.pow(torch.tensor(2.0), (exponent - 10).float()))
        value = torch.where(b & 128 != 0, -value, value)
        return (value * scale).to(torch.bfloat16).float()


def mxfp4(make, name, rows, columns):
    lut = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])
    blocks = torch.randint(0, 256, (E, rows, columns // 32, 16), dtype=torch.uint8)
    scales = torch.randint(122, 126, (E, rows, columns // 32), dtype=torch.uint8)
    make.tensors[name + "_blocks"], make.tensors[name + "_scales"] = blocks, scales
    pairs = torch.stack([lut[(blocks & 15).long()], lut[(blocks >> 4).long()]], dim=-1)
    values = pairs.flatten(-2) * torch.pow(torch.tensor(2.0), scales.float() - 127).unsqueeze(-1)
    return values.flatten(-2)


main(sys.argv[1])
