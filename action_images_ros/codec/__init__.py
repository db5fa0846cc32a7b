"""Action images: encode 7-DoF actions as pixels, decode pixels to calibrated 7-DoF targets."""

from .config import DecodeConfig
from .decode import decode
from .encoding import ActionEncoding, encode

__all__ = ["ActionEncoding", "DecodeConfig", "decode", "encode"]
