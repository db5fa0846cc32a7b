"""What is computed once a calibration, instruction or noise schedule, and not once a chunk or denoising step."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ...errors import ModelError
from .block import BlockConditions


@dataclass(frozen=True)
class WanModulation:
    """AdaLN of one noise level with every block's own table added: blocks (N, B, 6, dim), head (B, 2, dim), float32.

    B is 1 where one noise level serves the whole batch.
    """

    blocks: Tensor
    head: Tensor


@dataclass(frozen=True)
class WanCache:
    """N blocks, batch B, F latent frames, L text tokens.

    camera (N, B, F, dim); text_k, text_v (N, B, heads, L, head_dim); cos, sin (tokens, head_dim / 2) float32; grid:
    tokens along (time, height, width); schedule: one modulation for each noise level asked for, in that order.
    Belongs to the weights it was made with: make it again after training or moving the model.
    """

    camera: Tensor
    text_k: Tensor
    text_v: Tensor
    cos: Tensor
    sin: Tensor
    grid: tuple[int, int, int]
    schedule: tuple[WanModulation, ...] = ()

    def block(self, i: int) -> BlockConditions:
        return BlockConditions(self.camera[i], self.text_k[i], self.text_v[i])

    def cloned(self) -> WanCache:
        """The same with tensors of its own, without a schedule."""
        camera, text_k, text_v, cos, sin = (x.clone() for x in self._tensors())
        return WanCache(camera, text_k, text_v, cos, sin, self.grid)

    def copy_(self, other: WanCache) -> None:
        """Take over the values of a cache of the same shapes; the tensors stay where they are."""
        for mine, given in zip(self._tensors(), other._tensors()):
            mine.copy_(given)

    def _tensors(self) -> tuple[Tensor, ...]:
        return self.camera, self.text_k, self.text_v, self.cos, self.sin

    def modulation(self, step: int) -> WanModulation:
        if not 0 <= step < len(self.schedule):
            raise ModelError(f"denoising step {step} is not in this cache; it holds {len(self.schedule)} noise levels: "
                             "give precompute() all timesteps of the schedule")
        return self.schedule[step]
