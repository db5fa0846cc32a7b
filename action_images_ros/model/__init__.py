"""The world-action model: configuration, canvas, conditioning, denoisers behind one Protocol, sampler, pipeline.

Nothing here needs torch at import; the torch denoisers live in `small` and `wan`.
"""

from .canvas import CanvasLayout, Mode
from .config import ModelConfig

__all__ = ["CanvasLayout", "Mode", "ModelConfig"]
