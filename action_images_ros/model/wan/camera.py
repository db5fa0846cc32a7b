"""Camera encoder of a block: pooled camera latents of a latent frame -> one vector added to that frame's tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CameraEncoder(nn.Sequential):
    """Pool, flatten, Linear. Only the Linear has weights; its place in the sequence gives the published name
    `cam_encoder.2`. Starts at zero, so that a plain video model is unchanged by it."""

    def __init__(self, pool: tuple[int, int, int], dim: int) -> None:
        super().__init__(AveragePool(pool), nn.Flatten(-3), nn.Linear(pool[0] * pool[1] * pool[2], dim))

    def pooled(self, camera: Tensor) -> Tensor:
        """(..., C, h, w) -> (..., pool volume): the same for every block, so computed once."""
        return self[1](self[0](camera))

    def encode(self, pooled: Tensor) -> Tensor:
        """(..., pool volume) -> (..., dim)."""
        return self[2](pooled.to(weight_of(self[2]).dtype))


def weight_of(layer: nn.Module) -> Tensor:
    """Of a Linear, or of what quantisation has put in its place."""
    assert isinstance(layer.weight, Tensor)
    return layer.weight


class AveragePool(nn.Module):
    """Adaptive average pooling of the last three axes, as three small matrix products.

    Equal to torch's AdaptiveAvgPool3d on (channels, height, width), with three differences that matter here: any number
    of leading axes, float32 inside, and export to ONNX for every size.
    """

    def __init__(self, size: tuple[int, int, int]) -> None:
        super().__init__()
        self.size = tuple(size)

    def forward(self, x: Tensor) -> Tensor:
        c, h, w = (bins(n, out).to(x.device) for n, out in zip(x.shape[-3:], self.size))
        rows_and_columns = h @ x.float() @ w.mT
        return torch.einsum("oc,...chw->...ohw", c, rows_and_columns).to(x.dtype)


def bins(length: int, out: int) -> Tensor:
    """(out, length) float32 averaging matrix: bin i covers floor(i length / out) to ceil((i + 1) length / out)."""
    matrix = torch.zeros(out, length)
    for i in range(out):
        start, stop = i * length // out, -(-(i + 1) * length // out)
        matrix[i, start:stop] = 1.0 / (stop - start)
    return matrix
