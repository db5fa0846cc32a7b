"""Off-screen RGB rendering of a MuJoCo model without shadows, reflections or multisampling.

The OpenGL platform is chosen here and not by MuJoCo's import, so that a process which imported MuJoCo
for other reasons first still renders headless: MUJOCO_GL if set, else egl where there is no display.
"""

from __future__ import annotations

import importlib
import os

import mujoco
import numpy as np

from ..errors import SimError

_PLATFORMS = ("egl", "osmesa", "glfw")


def gl_platform() -> str:
    """The OpenGL platform to render with. Raises SimError if MUJOCO_GL names an unknown one."""
    asked = os.environ.get("MUJOCO_GL", "").strip().lower()
    if not asked:
        display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        return "glfw" if display else "egl"
    if asked not in _PLATFORMS:
        raise SimError(f"MUJOCO_GL is {asked!r}; legal: {', '.join(_PLATFORMS)}")
    return asked


class Renderer:
    """Renders fixed cameras of one model at one size. Not thread-safe: use it from the thread that made it."""

    def __init__(self, model: mujoco.MjModel, image_size: tuple[int, int]):
        width, height = image_size
        self._model = model
        self._gl = self._context(width, height)
        self._gl.make_current()
        self._scene = mujoco.MjvScene(model, maxgeom=200)
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION,
                     mujoco.mjtRndFlag.mjRND_SKYBOX, mujoco.mjtRndFlag.mjRND_HAZE):
            self._scene.flags[flag] = 0
        self._option = mujoco.MjvOption()
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._rect = mujoco.MjrRect(0, 0, width, height)
        self._context_mjr = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context_mjr)
        self._buffer = np.empty((height, width, 3), np.uint8)

    @staticmethod
    def _context(width: int, height: int):
        platform = gl_platform()
        try:
            return importlib.import_module(f"mujoco.{platform}").GLContext(width, height)
        except Exception as error:  # the platforms raise their own, unrelated kinds
            raise SimError(f"cannot open an off-screen OpenGL context with {platform}: {error}. Install libegl1 and "
                           "libgl1-mesa-dri, or libosmesa6 and set MUJOCO_GL=osmesa") from error

    def render(self, data: mujoco.MjData, camera_id: int) -> np.ndarray:
        """uint8 (H, W, 3) RGB as camera `camera_id` sees `data`, whose kinematics must be up to date."""
        if self._gl is None:
            raise SimError("this renderer is closed; make a new SimCell")
        self._camera.fixedcamid = camera_id
        mujoco.mjv_updateScene(self._model, data, self._option, None, self._camera,
                               mujoco.mjtCatBit.mjCAT_ALL, self._scene)
        self._gl.make_current()
        mujoco.mjr_render(self._rect, self._scene, self._context_mjr)
        mujoco.mjr_readPixels(self._buffer, None, self._rect, self._context_mjr)
        return self._buffer[::-1].copy()

    def close(self) -> None:
        if self._gl is not None:
            self._gl.make_current()
            self._context_mjr.free()
            self._gl.free()
            self._gl = None
