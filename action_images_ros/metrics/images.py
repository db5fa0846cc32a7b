"""Likeness of pictures: PSNR, SSIM and gradient-magnitude similarity deviation.

LPIPS needs the weights of a recognition network, which no package on a public registry carries. GMSD (Xue et al., 2014)
stands in for it here under its own name: it compares structure rather than pixels, and 0 is identical.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..errors import EncodingError

_PEAK = 255.0
_ROUNDING_MSE = 1.0 / 12.0
MAX_PSNR_DB = 10.0 * np.log10(_PEAK**2 / _ROUNDING_MSE)
"""Where `psnr` is capped: an error no larger than the rounding to 8 bits (58.9 dB)."""
_LUMA = np.array([0.299, 0.587, 0.114])
_SSIM_WINDOW, _SSIM_SIGMA = 11, 1.5
_SSIM_C1, _SSIM_C2 = (0.01 * _PEAK) ** 2, (0.03 * _PEAK) ** 2
_GMSD_C = 170.0
_MOVED = 16.0


@dataclass(frozen=True)
class VideoScores:
    """Means over frames and views. psnr_moving_db counts only the pixels that the truth changes since the first frame
    (NaN where nothing moves); gmsd >= 0, 0 = identical."""

    psnr_db: float
    psnr_moving_db: float
    ssim: float
    gmsd: float


def psnr(truth: np.ndarray, made: np.ndarray, where: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio in dB of uint8 pictures (H, W, 3), capped at MAX_PSNR_DB.

    where (H, W) bool: the pixels that count; NaN if there are none.
    """
    _same(truth, made)
    error = (truth.astype(float) - made.astype(float)) ** 2
    if where is not None:
        error = error[where]
        if not error.size:
            return float("nan")
    return float(10.0 * np.log10(_PEAK**2 / max(error.mean(), _ROUNDING_MSE)))


def ssim(truth: np.ndarray, made: np.ndarray) -> float:
    """Structural similarity in [-1, 1] of the luminance of uint8 pictures (H, W, 3), each side at least 11 px.

    Wang et al. (2004): Gaussian window 11x11 of standard deviation 1.5, K1 0.01, K2 0.03; mean over the windows that
    lie wholly inside.
    """
    _same(truth, made)
    if min(truth.shape[:2]) < _SSIM_WINDOW:
        raise EncodingError(f"ssim needs pictures of at least {_SSIM_WINDOW}x{_SSIM_WINDOW} px; got {truth.shape[:2]}")
    a, b = _luminance(truth), _luminance(made)
    mean_a, mean_b = _window(a), _window(b)
    var_a, var_b = _window(a * a) - mean_a**2, _window(b * b) - mean_b**2
    cov = _window(a * b) - mean_a * mean_b
    value = ((2 * mean_a * mean_b + _SSIM_C1) * (2 * cov + _SSIM_C2)
             / ((mean_a**2 + mean_b**2 + _SSIM_C1) * (var_a + var_b + _SSIM_C2)))
    return float(value.mean())


def gmsd(truth: np.ndarray, made: np.ndarray) -> float:
    """Gradient-magnitude similarity deviation of the luminance of uint8 pictures (H, W, 3); 0 = identical.

    Xue et al. (2014): 2x2 average and every second pixel, Prewitt gradients, c = 170, standard deviation of the
    similarity.
    """
    _same(truth, made)
    a, b = _gradient(_luminance(truth)), _gradient(_luminance(made))
    return float(((2 * a * b + _GMSD_C) / (a**2 + b**2 + _GMSD_C)).std())


def moving(truth: np.ndarray, first: np.ndarray) -> np.ndarray:
    """(H, W) bool: where uint8 (H, W, 3) differ by more than 16 of 255 in a colour, and a pixel around it."""
    _same(truth, first)
    changed = (np.abs(truth.astype(int) - first.astype(int)) > _MOVED).any(-1)
    return cv2.dilate(changed.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0


def video_scores(truth: np.ndarray, made: np.ndarray) -> VideoScores:
    """truth, made (T, V, H, W, 3) uint8 with the given frame at index 0, which is left out of the means."""
    _same(truth, made)
    if truth.ndim != 5 or len(truth) < 2:
        raise EncodingError(f"a video to score has shape (T >= 2, V, H, W, 3); got {truth.shape}")
    rows = []
    for t in range(1, len(truth)):
        for v in range(truth.shape[1]):
            a, b = truth[t, v], made[t, v]
            rows.append((psnr(a, b), psnr(a, b, moving(a, truth[0, v])), ssim(a, b), gmsd(a, b)))
    columns = np.array(rows)
    moved = columns[:, 1][np.isfinite(columns[:, 1])]
    return VideoScores(float(columns[:, 0].mean()), float(moved.mean()) if moved.size else float("nan"),
                       float(columns[:, 2].mean()), float(columns[:, 3].mean()))


def _same(a: np.ndarray, b: np.ndarray) -> None:
    if a.shape != b.shape or a.dtype != np.uint8 or b.dtype != np.uint8 or a.shape[-1] != 3:
        raise EncodingError(f"pictures to compare must be uint8 (..., H, W, 3) of one shape; got {a.dtype} {a.shape} "
                            f"and {b.dtype} {b.shape}")


def _luminance(image: np.ndarray) -> np.ndarray:
    return image.astype(float) @ _LUMA


def _window(image: np.ndarray) -> np.ndarray:
    """Gaussian means over every window that lies wholly inside."""
    half = _SSIM_WINDOW // 2
    blurred = cv2.GaussianBlur(image, (_SSIM_WINDOW, _SSIM_WINDOW), _SSIM_SIGMA)
    return blurred[half:-half, half:-half]


def _gradient(image: np.ndarray) -> np.ndarray:
    height, width = (s // 2 * 2 for s in image.shape)
    half = image[:height, :width].reshape(height // 2, 2, width // 2, 2).mean((1, 3))
    across = np.array([[1.0, 0.0, -1.0]] * 3) / 3.0
    return np.hypot(cv2.filter2D(half, cv2.CV_64F, across, borderType=cv2.BORDER_REPLICATE),
                    cv2.filter2D(half, cv2.CV_64F, across.T, borderType=cv2.BORDER_REPLICATE))
