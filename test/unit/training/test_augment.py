"""Augmentation keeps the calibration true: what is drawn after it is what was drawn before it, moved as the picture."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from action_images_ros.codec import ActionEncoding, decode, encode
from action_images_ros.errors import ConfigError
from action_images_ros.geometry import PinholeCamera, so3_exp
from action_images_ros.geometry.se3 import angle_between, make
from action_images_ros.model.canvas import CanvasLayout, Mode
from action_images_ros.model.config import ConvCanvasConfig, ModelConfig
from action_images_ros.sim.cameras import intrinsics, look_at
from action_images_ros.training.augment import NO_AUGMENT, Augment, Scene, cropped, mirrored, turned
from action_images_ros.training.data import CanvasSource, Episode

SIDE, STEPS = 256, 3
ENCODING = ActionEncoding()
MIRROR = np.diag([1.0, -1.0, 1.0])
DOWN = np.diag([1.0, -1.0, -1.0])


def a_scene(seed):
    """Two cameras anywhere round the table, three poses with the hand anyhow, pictures that are the action images."""
    rng = np.random.default_rng(seed)
    cameras = []
    for azimuth in rng.uniform((-1.3, 0.3), (-0.3, 1.3)):
        a, e = azimuth, rng.uniform(0.4, 1.1)
        eye = np.array([0.5, 0, 0.2]) + 1.3 * np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
        K = intrinsics(60.0, (SIDE, SIDE)) + np.array([[0, 0, rng.uniform(-9, 9)], [0, 0, rng.uniform(-9, 9)], [0] * 3])
        cameras.append(PinholeCamera(K, (SIDE, SIDE), look_at(eye, np.array([0.5, 0, 0.2]), rng.uniform(-0.3, 0.3))))
    R = np.stack([so3_exp(rng.normal(0, 0.4, 3)) @ DOWN for _ in range(STEPS)])
    poses = make(R, rng.uniform((0.45, -0.1, 0.15), (0.6, 0.1, 0.3), (STEPS, 3)))
    return Scene(drawn(poses, cameras), tuple(cameras), poses)


def drawn(poses, cameras):
    return encode(poses, np.ones(len(poses)), cameras, ENCODING)


def decoded(scene):
    return decode(drawn(scene.base_T_tcps, scene.cameras), scene.cameras, ENCODING)


def requires_true(scene):
    """Poses are rigid, and the pictures are decoded to them."""
    R = scene.base_T_tcps[:, :3, :3]
    assert np.allclose(np.swapaxes(R, 1, 2) @ R, np.eye(3), atol=1e-12) and np.allclose(np.linalg.det(R), 1.0)
    chunk = decoded(scene)
    assert np.linalg.norm(chunk.base_T_tcps[:, :3, 3] - scene.base_T_tcps[:, :3, 3], axis=-1).max() < 1e-4
    assert angle_between(chunk.base_T_tcps[:, :3, :3], R).max() < 1e-3


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6))
def test_a_mirrored_cell_shows_exactly_the_mirrored_pictures(seed):
    scene = a_scene(seed)
    other = mirrored(scene)
    assert np.array_equal(other.images, scene.images[:, :, :, ::-1])
    assert np.abs(drawn(other.base_T_tcps, other.cameras).astype(int) - other.images).max() <= 1
    requires_true(other)
    assert np.allclose(other.base_T_tcps[:, :3, 3], scene.base_T_tcps[:, :3, 3] @ MIRROR)
    twice = mirrored(other)
    assert np.allclose(twice.base_T_tcps, scene.base_T_tcps) and np.array_equal(twice.images, scene.images)
    for a, b in zip(twice.cameras, scene.cameras):
        assert np.allclose(a.K, b.K) and np.allclose(a.base_T_camera, b.base_T_camera)


def test_lens_distortion_is_mirrored_with_the_picture():
    lens = np.array([0.08, -0.05, 0.004, -0.006, 0.01])
    scene = a_scene(1)
    cameras = tuple(PinholeCamera(c.K, c.image_size, c.base_T_camera, lens) for c in scene.cameras)
    other = mirrored(Scene(drawn(scene.base_T_tcps, cameras), cameras, scene.base_T_tcps))
    points = ENCODING.base_points(scene.base_T_tcps)
    for old, new in zip(cameras, other.cameras):
        uv, flipped = old.project(points), new.project(points @ MIRROR)
        assert np.allclose(flipped, np.stack([SIDE - 1 - uv[..., 0], uv[..., 1]], -1), atol=1e-9)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.75, 1.0), st.floats(0, 1), st.floats(0, 1))
def test_a_crop_moves_the_blobs_as_it_moves_the_picture(seed, keep, x, y):
    scene = cropped(a_scene(seed), 0, keep, np.array([x, y]))
    requires_moved(scene, 0)
    requires_true(scene)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6), st.tuples(*[st.floats(-0.1, 0.1)] * 3))
def test_a_turned_camera_sees_the_blobs_where_its_picture_has_them(seed, turn):
    scene = turned(a_scene(seed), 1, np.array(turn))
    requires_moved(scene, 1)
    requires_true(scene)
    assert np.allclose(scene.cameras[1].centre, a_scene(seed).cameras[1].centre)


def requires_moved(scene, view):
    """The red and green blobs of the moved picture lie where the new camera projects their points. (A crop widens a
    blob and a turn bends it a little; its middle is what counts.)"""
    uv = scene.cameras[view].project(ENCODING.base_points(scene.base_T_tcps))
    for image, points in zip(scene.images[:, view], uv):
        for channel in (0, 1):
            if not np.all((points[channel] > 60) & (points[channel] < SIDE - 61)):
                continue
            mass = np.where(image[..., channel] > 60, image[..., channel], 0).astype(float)
            rows, columns = np.mgrid[:SIDE, :SIDE]
            found = np.array([(mass * columns).sum(), (mass * rows).sum()]) / mass.sum()
            assert np.linalg.norm(found - points[channel]) < 0.35


def test_a_lens_forbids_turning():
    scene = a_scene(0)
    bent = tuple(PinholeCamera(c.K, c.image_size, c.base_T_camera, np.array([0.1, 0, 0, 0])) for c in scene.cameras)
    with pytest.raises(ConfigError, match="set turn_deg to 0"):
        turned(Scene(scene.images, bent, scene.base_T_tcps), 0, np.zeros(3))


@pytest.mark.parametrize("wrong", [{"mirror": 1.1}, {"crop": 0.5}, {"turn_deg": 30.0}])
def test_senseless_augmentation_is_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Augment(**wrong)


CONFIG = ModelConfig(chunk_size=STEPS, image_size=(96, 96), action_size=(96, 96),
                     conv_canvas=ConvCanvasConfig(32, 16, 1, 2))


def source_of(seed, words):
    config, scene = CONFIG, a_scene(seed)
    cameras = tuple(c.resized(config.image_size) for c in scene.cameras)
    small = np.stack([[cv2.resize(v, config.image_size, interpolation=cv2.INTER_AREA) for v in t]
                      for t in scene.images])
    return CanvasSource([Episode(small, scene.base_T_tcps, np.ones(STEPS), cameras, (words,))], config)


def test_canvases_are_drawn_from_the_augmented_cameras():
    """Pictures, rays, poses and action images of a canvas agree, whatever was drawn."""
    source = source_of(3, "reach the red ball")
    layout = CanvasLayout.for_mode(Mode.JOINT, 2, STEPS, STEPS)
    every = replace(NO_AUGMENT, mirror=1.0, crop=0.1, turn_deg=3.0)
    plain = source.batch(np.random.default_rng(0), 4, layout, NO_AUGMENT)
    batch = source.batch(np.random.default_rng(0), 4, layout, every)
    assert not np.array_equal(batch.rays[0], batch.rays[1]) and np.array_equal(plain.rays[0], plain.rays[1])
    assert np.all(batch.base_T_tcps[:, :, 1, 3] * plain.base_T_tcps[:, :, 1, 3] < 0)
    # the pictures are action images themselves, so that the canvas must draw nearly what they show
    assert np.abs(batch.video - batch.action).mean() < 0.3 * np.abs(batch.video - plain.action).mean()


def test_words_that_name_a_side_forbid_mirroring():
    source = source_of(3, "push the Left button")
    layout = CanvasLayout.for_mode(Mode.POLICY, 2, STEPS, STEPS)
    made = source.batch(np.random.default_rng(0), 2, layout, Augment(mirror=1.0, shuffle_views=False))
    kept = a_scene(3).base_T_tcps
    assert np.allclose(made.base_T_tcps[0, -1], kept[-1])


def test_a_part_of_a_batch_is_that_part_of_the_whole():
    source, layout = source_of(5, "reach the red ball"), CanvasLayout.for_mode(Mode.POLICY, 2, STEPS, STEPS)
    every = Augment(mirror=0.5, crop=0.1, turn_deg=3.0)
    whole = source.batch(np.random.default_rng(7), 6, layout, every)
    part = source.batch(np.random.default_rng(7), 6, layout, every, slice(2, 4))
    for name in ("video", "action", "rays", "text", "base_T_tcps"):
        assert np.array_equal(getattr(whole, name)[2:4], getattr(part, name))
