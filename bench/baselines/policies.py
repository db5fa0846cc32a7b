"""ACT and Diffusion Policy of lerobot for two 96x96 views, and what the simulated cell asks of a policy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from batches import VIEWS, image_key, image_tensor
from vectors import ACTION_SIZE, STATE_SIZE, poses_of, state_vector

from action_images_ros.model.frames import model_image
from action_images_ros.types import ActionChunk, SyncedFrames

IMAGE_PX, CHUNK, DT_S = 96, 8, 0.4
NAMES = ("act", "diffusion")


def _declare_missing_operators() -> None:
    """torchvision's only wheels on PyPI are built for CUDA; beside a CPU build of PyTorch their compiled operators do
    not load, and two must at least be declared for the import. No policy calls them."""
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            if not hasattr(torch.ops.torchvision, name):
                library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _declare_missing_operators.kept = library  # type: ignore[attr-defined]


_declare_missing_operators()

from lerobot.configs.types import FeatureType, PolicyFeature  # noqa: E402
from lerobot.policies.act.configuration_act import ACTConfig  # noqa: E402
from lerobot.policies.act.modeling_act import ACTPolicy  # noqa: E402
from lerobot.policies.act.processor_act import make_act_pre_post_processors  # noqa: E402
from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig  # noqa: E402
from lerobot.policies.diffusion.modeling_diffusion import DiffusionPolicy  # noqa: E402
from lerobot.policies.diffusion.processor_diffusion import make_diffusion_pre_post_processors  # noqa: E402


def _features() -> dict[str, dict[str, PolicyFeature]]:
    images = {image_key(v): PolicyFeature(FeatureType.VISUAL, (3, IMAGE_PX, IMAGE_PX)) for v in VIEWS}
    state = {"observation.state": PolicyFeature(FeatureType.STATE, (STATE_SIZE,))}
    return {"input_features": images | state,
            "output_features": {"action": PolicyFeature(FeatureType.ACTION, (ACTION_SIZE,))}}


def build(name: str) -> torch.nn.Module:
    """lerobot's defaults but for what a chunk of 8 steps, a memoryless task and a CPU ask for."""
    if name == "act":
        return _with_group_norm(ACTPolicy(ACTConfig(
            **_features(), device="cpu", chunk_size=CHUNK, n_action_steps=CHUNK, pretrained_backbone_weights=None)))
    if name == "diffusion":
        return DiffusionPolicy(DiffusionConfig(
            **_features(), device="cpu", n_obs_steps=1, horizon=CHUNK, n_action_steps=CHUNK, drop_n_last_frames=0,
            down_dims=(128, 256, 512), noise_scheduler_type="DDIM", num_inference_steps=10))
    raise ValueError(f"policy is {name!r}; legal: {', '.join(NAMES)}")


def _with_group_norm(policy: torch.nn.Module) -> torch.nn.Module:
    """ACT freezes the batch statistics of its pretrained backbone; without pretrained weights there are none to
    freeze. So group normalisation takes their place, as in lerobot's Diffusion Policy from scratch."""
    from torchvision.ops.misc import FrozenBatchNorm2d

    for module in list(policy.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, FrozenBatchNorm2d):
                channels = len(child.weight)
                setattr(module, name, torch.nn.GroupNorm(channels // 16, channels))
    return policy


def processors(name: str, policy: torch.nn.Module, statistics: dict) -> tuple:
    """lerobot's own: what normalises a batch, what turns actions back into metres."""
    make = make_act_pre_post_processors if name == "act" else make_diffusion_pre_post_processors
    tensors = {key: {k: torch.tensor(v) for k, v in of.items()} for key, of in statistics.items()}
    return make(policy.config, dataset_stats=tensors)


class LerobotPolicy:
    """A trained checkpoint of `train.py` as the rollout asks it: pictures, pose and instruction in, a chunk out. It is
    given no calibration, as these policies have no place for one."""

    def __init__(self, name: str, policy: torch.nn.Module, statistics: dict) -> None:
        self._name, self._policy = name, policy.eval()
        self._before, self._after = processors(name, policy, statistics)

    @classmethod
    def load(cls, checkpoint: Path) -> LerobotPolicy:
        stored = torch.load(checkpoint, map_location="cpu", weights_only=True)
        policy = build(stored["policy"])
        policy.load_state_dict(stored["average"])
        return cls(stored["policy"], policy, stored["statistics"])

    def actions(self, batch: dict[str, torch.Tensor], seed: int = 0) -> np.ndarray:
        """Observations, not normalised -> (B, 8, 10) in metres. seed: of Diffusion Policy's noise."""
        ready = self._before({k: v for k, v in batch.items() if k.startswith("observation.")})
        size = len(ready["observation.state"])
        with torch.inference_mode():
            if self._name == "act":
                made = self._policy.predict_action_chunk(ready)
            else:
                noise = torch.randn((size, CHUNK, ACTION_SIZE), generator=torch.Generator().manual_seed(seed))
                images = torch.stack([ready[image_key(v)] for v in VIEWS], dim=1)
                made = self._policy.diffusion.generate_actions(
                    {"observation.state": ready["observation.state"][:, None], "observation.images": images[:, None]},
                    noise=noise)
            return self._after(made).numpy()

    def infer(self, frames: SyncedFrames, base_T_tcp: np.ndarray, openness: float, instruction: str, *,
              seed: int = 0) -> ActionChunk:
        images = dict(zip(frames.views, frames.images))
        batch = {image_key(v): image_tensor(model_image(images[v], (IMAGE_PX, IMAGE_PX)))[None] for v in VIEWS}
        batch["observation.state"] = torch.from_numpy(state_vector(base_T_tcp, openness, instruction))[None]
        poses, opens = poses_of(self.actions(batch, seed)[0])
        return ActionChunk.from_poses(np.concatenate([base_T_tcp[None], poses]), np.concatenate([[openness], opens]),
                                      frames.stamp_ns, DT_S)
