"""The forward pass once more, written from the published description alone: one sample, one token, one head at a time.

Float64, complex rotary positions, no code shared with the package. Weights: a dict in the original Wan layout with
`cam_encoder.2` and `projector`.
"""

import math

import torch
import torch.nn.functional as F


def reference_forward(weights, latents, timestep, camera, text, heads):
    """latents (C, F, h, w), timestep float, camera (F, 96, h, w), text (L, D) -> (C, F, h, w) float64."""
    W = {k: v.double() for k, v in weights.items()}
    latents, camera, text = latents.double(), camera.double(), text.double()
    channels, frames, height, width = latents.shape
    rows, columns = height // 2, width // 2
    positions = [(f, i, j) for f in range(frames) for i in range(rows) for j in range(columns)]

    kernel = W["patch_embedding.weight"].flatten(1)
    x = torch.stack([kernel @ latents[:, f:f + 1, 2 * i:2 * i + 2, 2 * j:2 * j + 2].flatten()
                     + W["patch_embedding.bias"] for f, i, j in positions])

    words = linear(W, "text_embedding.2", gelu(linear(W, "text_embedding.0", text)))

    half = W["time_embedding.0.weight"].shape[1] // 2
    angles = [timestep / 10000 ** (i / half) for i in range(half)]
    wave = torch.tensor([math.cos(a) for a in angles] + [math.sin(a) for a in angles], dtype=torch.float64)
    e = linear(W, "time_embedding.2", silu(linear(W, "time_embedding.0", wave)))
    six = linear(W, "time_projection.1", silu(e)).reshape(6, -1)

    pooled = F.adaptive_avg_pool3d(camera[:, None], (48, 16, 16)).flatten(1)
    layers = 1 + max(int(k.split(".")[1]) for k in W if k.startswith("blocks."))
    for n in range(layers):
        x = block(W, f"blocks.{n}", x, six, pooled, words, positions, heads)

    shift, scale = W["head.modulation"][0] + e
    x = linear(W, "head.head", layer_norm(x) * (1 + scale) + shift)
    out = torch.empty(x.shape[1] // 4, frames, height, width, dtype=torch.float64)
    for token, (f, i, j) in zip(x, positions):
        out[:, f, 2 * i:2 * i + 2, 2 * j:2 * j + 2] = token.reshape(2, 2, -1).permute(2, 0, 1)
    return out


def block(W, name, x, six, pooled, words, positions, heads):
    shift1, scale1, gate1, shift2, scale2, gate2 = W[f"{name}.modulation"][0] + six
    y = layer_norm(x) * (1 + scale1) + shift1
    view = linear(W, f"{name}.cam_encoder.2", pooled)
    y = y + torch.stack([view[f] for f, _, _ in positions])
    y = linear(W, f"{name}.projector", attention(W, f"{name}.self_attn", y, y, heads, positions))
    x = x + y * gate1
    y = layer_norm(x) * W[f"{name}.norm3.weight"] + W[f"{name}.norm3.bias"]
    x = x + attention(W, f"{name}.cross_attn", y, words, heads, None)
    y = layer_norm(x) * (1 + scale2) + shift2
    return x + linear(W, f"{name}.ffn.2", gelu(linear(W, f"{name}.ffn.0", y))) * gate2


def attention(W, name, queries, others, heads, positions):
    q = rms_norm(linear(W, f"{name}.q", queries)) * W[f"{name}.norm_q.weight"]
    k = rms_norm(linear(W, f"{name}.k", others)) * W[f"{name}.norm_k.weight"]
    v = linear(W, f"{name}.v", others)
    size = q.shape[1] // heads
    results = []
    for h in range(heads):
        part = slice(h * size, (h + 1) * size)
        qh, kh = q[:, part], k[:, part]
        if positions is not None:
            qh = torch.stack([turned(t, p) for t, p in zip(qh, positions)])
            kh = torch.stack([turned(t, p) for t, p in zip(kh, positions)])
        weights = torch.exp(qh @ kh.T / math.sqrt(size))
        results.append(weights / weights.sum(1, keepdim=True) @ v[:, part])
    return linear(W, f"{name}.o", torch.cat(results, 1))


def turned(token, position):
    """Neighbouring channels as complex numbers, each turned by its axis's position times its frequency."""
    size = len(token)
    spatial = 2 * (size // 6)
    turns = []
    for place, channels in zip(position, (size - 2 * spatial, spatial, spatial)):
        turns += [place / 10000 ** (i / channels) for i in range(0, channels, 2)]
    z = torch.view_as_complex(token.reshape(-1, 2)) * torch.exp(1j * torch.tensor(turns, dtype=torch.float64))
    return torch.view_as_real(z).flatten()


def linear(W, name, x):
    return x @ W[f"{name}.weight"].T + W[f"{name}.bias"]


def layer_norm(x):
    mean = x.mean(-1, keepdim=True)
    return (x - mean) / torch.sqrt(((x - mean) ** 2).mean(-1, keepdim=True) + 1e-6)


def rms_norm(x):
    return x / torch.sqrt((x ** 2).mean(-1, keepdim=True) + 1e-6)


def silu(x):
    return x / (1 + torch.exp(-x))


def gelu(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))
