"""The small denoiser in torch."""

from .conv_canvas import ConvCanvas

__all__ = ["ConvCanvas"]
