"""Parameter names of published Wan checkpoints -> ours, which are those of the original Wan code."""

from __future__ import annotations

import re
from enum import Enum

CAMERA_PARTS = (".cam_encoder.", ".projector.")
"""A name with one of these belongs to the camera modules, which a plain video checkpoint lacks."""


class NamingStyle(str, Enum):
    """ORIGINAL: the Wan repository's names, the released action weights' too. DIFFUSERS: WanTransformer3DModel's."""

    ORIGINAL = "original"
    DIFFUSERS = "diffusers"


_FROM_DIFFUSERS = tuple((re.compile(pattern), ours) for pattern, ours in (
    (r"^condition_embedder\.time_embedder\.linear_1\.", "time_embedding.0."),
    (r"^condition_embedder\.time_embedder\.linear_2\.", "time_embedding.2."),
    (r"^condition_embedder\.text_embedder\.linear_1\.", "text_embedding.0."),
    (r"^condition_embedder\.text_embedder\.linear_2\.", "text_embedding.2."),
    (r"^condition_embedder\.time_proj\.", "time_projection.1."),
    (r"^proj_out\.", "head.head."),
    (r"^scale_shift_table$", "head.modulation"),
    (r"^(blocks\.\d+)\.scale_shift_table$", r"\1.modulation"),
    (r"^(blocks\.\d+)\.norm2\.", r"\1.norm3."),
    (r"^(blocks\.\d+)\.ffn\.net\.0\.proj\.", r"\1.ffn.0."),
    (r"^(blocks\.\d+)\.ffn\.net\.2\.", r"\1.ffn.2."),
    (r"^(blocks\.\d+)\.attn1\.", r"\1.self_attn."),
    (r"^(blocks\.\d+)\.attn2\.", r"\1.cross_attn."),
    (r"\.to_([qkv])\.", r".\1."),
    (r"\.to_out\.0\.", ".o."),
))


def style_of(names: set[str]) -> NamingStyle:
    return NamingStyle.DIFFUSERS if any(n.startswith("condition_embedder.") for n in names) else NamingStyle.ORIGINAL


def our_name(name: str, style: NamingStyle) -> str:
    """The name in our layout; a name that the style does not know comes back as it is, to be reported as unknown."""
    if style is NamingStyle.DIFFUSERS:
        for pattern, ours in _FROM_DIFFUSERS:
            name = pattern.sub(ours, name)
    return name


def common_prefix(names: set[str]) -> str:
    """What stands before `patch_embedding.weight`, such as "model." in a training checkpoint; "" where it is absent."""
    anchor = "patch_embedding.weight"
    found = sorted((n[: -len(anchor)] for n in names if n == anchor or n.endswith("." + anchor)), key=len)
    return found[0] if found else ""


def is_camera(name: str) -> bool:
    return any(part in name for part in CAMERA_PARTS)
