"""Structural similarity as a loss: what a squared error forgives, blur above all, it does not."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_WINDOW, _SD = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2
_LUMINANCE = (0.299, 0.587, 0.114)


def dissimilarity(made: Tensor, truth: Tensor, factor: int) -> Tensor:
    """1 - SSIM (Wang et al., 2004; as `metrics.ssim`) of the luminance, mean over all pictures.

    made, truth (..., 3 factor^2, h, w): latents of the frame codec `pixels`, in [-1, 1].
    """
    with torch.autocast(made.device.type, enabled=False):  # variances are differences of nearly equal numbers
        a, b = _luminance(made.float(), factor), _luminance(truth.float(), factor)
        mean_a, mean_b = _blur(a), _blur(b)
        var_a, var_b = _blur(a * a) - mean_a**2, _blur(b * b) - mean_b**2
        cov = _blur(a * b) - mean_a * mean_b
    similar = ((2 * mean_a * mean_b + _C1) * (2 * cov + _C2)
               / ((mean_a**2 + mean_b**2 + _C1) * (var_a + var_b + _C2)))
    return 1.0 - similar.mean()


def _luminance(latents: Tensor, factor: int) -> Tensor:
    """(..., 3 f f, h, w) -> (N, 1, h f, w f) in [0, 1]."""
    x = latents.reshape(-1, factor * factor, 3, *latents.shape[-2:])
    grey = (x * x.new_tensor(_LUMINANCE)[:, None, None]).sum(2)
    return 0.5 + 0.5 * F.pixel_shuffle(grey, factor)


def _blur(x: Tensor) -> Tensor:
    """Gaussian window, over where it lies wholly inside."""
    t = torch.arange(_WINDOW, dtype=x.dtype) - _WINDOW // 2
    g = torch.exp(-0.5 * (t / _SD) ** 2)
    g = g / g.sum()
    return F.conv2d(F.conv2d(x, g[None, None, None]), g[None, None, :, None])
