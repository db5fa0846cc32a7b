"""A torch denoiser on a device that keeps the canvas. Needs torch."""

from __future__ import annotations

import numpy as np
import torch

from ..model.denoiser import Conditioning
from ..model.device_faults import device_faults
from .resident import ResidentSampler


class TorchDevice(ResidentSampler):
    """The Denoiser Protocol, one step a call, and `sample`: all steps of a canvas at once (`engines.resident`)."""

    def velocity(self, video: np.ndarray, action: np.ndarray, sigma: np.ndarray, conditioning: Conditioning):
        """Raises EngineError where the device has no memory left or fails."""
        with device_faults(self.device), torch.no_grad(), self._attention((video.shape, action.shape))():
            state = (torch.from_numpy(np.ascontiguousarray(x)).to(self.device) for x in (video, action, sigma))
            made = self.module.velocity(*state, self._on_device(conditioning))
        return tuple(None if x is None else x.float().cpu().numpy() for x in made)
