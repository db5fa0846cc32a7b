"""Episodes as they were recorded, and canvases that show what the episodes say."""

from dataclasses import replace

import numpy as np
import pytest
from tiny_training import CONFIG

from action_images_ros.codec import decode
from action_images_ros.errors import DatasetError
from action_images_ros.geometry.se3 import angle_between
from action_images_ros.model.canvas import CanvasLayout, Mode
from action_images_ros.model.frames import PixelCodec
from action_images_ros.model.rays import plucker_rays
from action_images_ros.sim.collect import read_shard
from action_images_ros.training.augment import NO_AUGMENT, Augment
from action_images_ros.training.data import Window, draw_layout, load_episodes

T = CONFIG.chunk_size
POLICY = CanvasLayout.for_mode(Mode.POLICY, 2, T, T)
JOINT = CanvasLayout.for_mode(Mode.JOINT, 2, T, T)


def test_loaded_episodes_are_those_of_the_shards(shards, episodes):
    assert len(episodes) == 3
    arrays, described = read_shard(shards / "shard_00000.safetensors")
    second = arrays["episode_index"] == 1
    assert np.array_equal(episodes[1].images, arrays["images"][second])
    assert np.abs(episodes[1].base_T_tcps - arrays["base_T_tcp"][second]).max() < 1e-6
    assert described[1]["instruction"] in episodes[1].instructions
    assert np.abs(episodes[1].cameras[1].K - arrays["K"][1, 1]).max() < 1e-4
    assert episodes[1].cameras[0].image_size == (32, 32)


def test_poses_are_rotations_again_after_storage_in_single_precision(episodes):
    for episode in episodes:
        R = episode.base_T_tcps[:, :3, :3]
        assert np.abs(np.swapaxes(R, 1, 2) @ R - np.eye(3)).max() < 1e-12


def test_a_limit_reads_no_more(shards):
    assert len(load_episodes(shards, 1)) == 1


def test_missing_and_broken_shards_are_named(shards, tmp_path):
    with pytest.raises(DatasetError, match="no shard_.*action-images sim collect"):
        load_episodes(tmp_path)
    whole = (shards / "shard_00000.safetensors").read_bytes()
    (tmp_path / "shard_00000.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match="shard_00000.safetensors is not a readable"):
        load_episodes(tmp_path)


def test_a_window_shows_the_recorded_pictures_and_poses(source, episodes):
    batch = source.windows([Window(2, 1)], JOINT, NO_AUGMENT, np.random.default_rng(0))
    frames = np.minimum(1 + np.arange(T), len(episodes[2].images) - 1)
    assert np.array_equal(PixelCodec(2).decode(batch.video[0].swapaxes(0, 1)), episodes[2].images[frames])
    assert np.array_equal(batch.rays[0], plucker_rays(episodes[2].cameras, CONFIG.action_size, CONFIG.ray_frame))
    images = PixelCodec(1).decode(batch.action[0].swapaxes(0, 1))
    chunk = decode(images, [c.resized(CONFIG.action_size) for c in episodes[2].cameras], CONFIG.encoding)
    true = episodes[2].base_T_tcps[frames]
    assert np.median(np.linalg.norm(chunk.base_T_tcps[:, :3, 3] - true[:, :3, 3], axis=-1)) < 3e-3
    assert np.median(angle_between(chunk.base_T_tcps[:, :3, :3], true[:, :3, :3])) < 0.05


def test_past_the_end_the_arm_rests(source, episodes):
    last = len(episodes[0].images) - 1
    batch = source.windows([Window(0, last)], JOINT, NO_AUGMENT, np.random.default_rng(0))
    for kind in (batch.video, batch.action):
        assert np.array_equal(kind[:, :, 1:], np.repeat(kind[:, :, :1], T - 1, 2))


def test_shuffled_views_keep_picture_camera_and_action_together(source, episodes):
    plain = source.windows([Window(1, 0)], POLICY, NO_AUGMENT, np.random.default_rng(0))
    shuffle = replace(NO_AUGMENT, shuffle_views=True)
    orders = set()
    for seed in range(8):
        made = source.windows([Window(1, 0)], POLICY, shuffle, np.random.default_rng(seed))
        order = [0, 1] if np.array_equal(made.rays, plain.rays) else [1, 0]
        orders.add(tuple(order))
        for name in ("video", "action", "rays"):
            assert np.array_equal(getattr(made, name), getattr(plain, name)[:, order])
    assert orders == {(0, 1), (1, 0)}


def test_colour_changes_pictures_only(source):
    plain = source.windows([Window(1, 0)], POLICY, NO_AUGMENT, np.random.default_rng(0))
    colour = replace(NO_AUGMENT, brightness=0.15, contrast=0.15)
    coloured = source.windows([Window(1, 0)], POLICY, colour, np.random.default_rng(0))
    assert np.array_equal(coloured.action, plain.action) and np.array_equal(coloured.rays, plain.rays)
    assert not np.array_equal(coloured.video, plain.video)


def test_committed_poses_are_shifted_and_the_rest_eases_back():
    poses = np.tile(np.eye(4), (9, 1, 1))
    shift = Augment(committed_m=0.01).shift_committed(poses, 2, np.random.default_rng(0))[:, :3, 3]
    size = np.linalg.norm(shift, axis=-1)
    assert size[0] == 0 and size[-1] == pytest.approx(0) and size.argmax() == 2
    assert np.all(np.diff(size[2:]) < 0)
    assert np.array_equal(Augment(committed_m=0.01).shift_committed(poses, 0, np.random.default_rng(0)), poses)


def test_one_picture_is_shown_under_two_instructions_with_what_each_asks_for(source, episodes):
    batch = source.batch(np.random.default_rng(1), 4, POLICY, replace(NO_AUGMENT, relabel=True))
    for a, b in ((0, 1), (2, 3)):
        assert np.array_equal(batch.video[a], batch.video[b]) and np.array_equal(batch.rays[a], batch.rays[b])
        assert not np.array_equal(batch.text[a], batch.text[b])
        assert np.array_equal(batch.base_T_tcps[a, 0], batch.base_T_tcps[b, 0])
        assert np.linalg.norm((batch.base_T_tcps[a, -1] - batch.base_T_tcps[b, -1])[:3, 3]) > 0.02


def test_layouts_are_drawn_as_the_mix_says():
    rng = np.random.default_rng(0)
    drawn = [draw_layout(CONFIG, {Mode.POLICY: 3.0, Mode.LABEL: 1.0}, 0.5, rng) for _ in range(400)]
    policy = [x for x in drawn if len(x.clean_video) == 1]
    assert 0.68 < len(policy) / len(drawn) < 0.82
    assert 0.4 < np.mean([sum(x.clean_action) > 1 for x in policy]) < 0.6
    assert all(x == CanvasLayout.for_mode(Mode.LABEL, 2, T, T) for x in drawn if len(x.clean_video) > 1)
