"""Any lens whose rays OpenCV can describe is described; others are refused."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from action_images_ros.cameras.lens import fit_distortion
from action_images_ros.errors import CameraError

K = np.array([[610.0, 0, 322.0], [0, 608.0, 241.0], [0, 0, 1]])
RAYS = np.stack(np.meshgrid(np.linspace(-0.52, 0.52, 20), np.linspace(-0.39, 0.39, 15)), -1).reshape(-1, 2)
UV = RAYS * 610 + K[:2, 2]
small = st.floats(-0.1, 0.1)


@given(k1=small, k2=small, p1=st.floats(-0.002, 0.002), p2=st.floats(-0.002, 0.002), k3=st.floats(-0.03, 0.03))
def test_opencvs_own_lens_comes_back(k1, k2, p1, p2, k3):
    def seen(coefficients):
        return cv2.projectPoints(np.c_[RAYS, np.ones(len(RAYS))], np.zeros(3), np.zeros(3), K, coefficients)[0][:, 0]

    uv = seen(np.array([k1, k2, p1, p2, k3]))
    found, error_px = fit_distortion(uv, RAYS, K)
    assert error_px < 1e-6
    assert np.abs(seen(np.zeros(5) if found is None else found) - uv).max() < 2e-3


def test_a_fisheye_is_refused():
    angle = (UV - K[:2, 2]) / 250.0
    radius = np.linalg.norm(angle, axis=1, keepdims=True)
    rays = angle * np.tan(np.minimum(radius, 1.45)) / np.maximum(radius, 1e-9)
    with pytest.raises(CameraError, match="lens model .* differs"):
        fit_distortion(UV, rays, np.array([[250.0, 0, 322], [0, 250, 241], [0, 0, 1]]))
