"""What must hold of decoding for any poses, cameras and lenses."""

import numpy as np
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from action_images_ros.codec import ActionEncoding, decode, encode
from action_images_ros.geometry import PinholeCamera, se3

WORK = np.array([0.5, 0.0, 0.2])
ENCODING = ActionEncoding()
unit = st.floats(-1, 1)
vectors = st.tuples(unit, unit, unit).map(np.array)
seeds = st.integers(0, 10_000)


def cameras_of(rng: np.random.Generator, size: tuple[int, int], views: int, lens: bool) -> list[PinholeCamera]:
    out = []
    for k in range(views):
        a, e = rng.uniform(-0.4, 0.4) + 1.15 * k, rng.uniform(0.3, 0.8)
        back = np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
        right = np.cross(-back, [0, 0, 1.0])
        right /= np.linalg.norm(right)
        focal = min(size) * rng.uniform(1.0, 1.3)
        K = np.array([[focal, 0, size[0] / 2 - 0.5], [0, focal, size[1] / 2 - 0.5], [0, 0, 1]])
        distortion = rng.uniform(-1, 1, 5) * [0.15, 0.05, 1e-3, 1e-3, 0.02] if lens else None
        pose = se3.make(np.stack([right, np.cross(-back, right), -back], -1), WORK + rng.uniform(0.9, 1.4) * back)
        out.append(PinholeCamera(K, size, pose, distortion))
    return out


def scene(seed: int, size: tuple[int, int] = (128, 128), views: int = 2, lens: bool = False, steps: int = 3):
    """Cameras, poses whose three points every view sees well inside, openness."""
    rng = np.random.default_rng(seed)
    cameras = cameras_of(rng, size, views, lens)
    R = se3.so3_exp(rng.normal(0, 0.5, 3) + [0, 0, rng.uniform(-3, 3)]) @ np.diag([1.0, -1, -1])
    p = WORK + rng.uniform(-1, 1, 3) * 0.08 + np.linspace(0, 1, steps)[:, None] * rng.uniform(-0.05, 0.05, 3)
    poses = se3.make(np.broadcast_to(R, (steps, 3, 3)), p)
    uv = np.stack([c.project(ENCODING.base_points(poses)) for c in cameras])
    margin = 2.0 * ENCODING.sigma_px(size)
    assume(np.all((uv > margin) & (uv < np.array(size) - margin)))
    return cameras, poses, (rng.random(steps) > 0.5).astype(float)


def apart(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Largest distance in mm and in degrees."""
    return (1e3 * np.linalg.norm(a[:, :3, 3] - b[:, :3, 3], axis=-1).max(),
            np.degrees(se3.angle_between(a[:, :3, :3], b[:, :3, :3])).max())


@settings(deadline=None, max_examples=25)
@given(seeds, st.sampled_from([(128, 128), (160, 120), (96, 96)]), st.integers(2, 4), st.booleans())
def test_decoding_undoes_encoding(seed, size, views, lens):
    cameras, poses, openness = scene(seed, size, views, lens)
    chunk = decode(encode(poses, openness, cameras), cameras)
    position, rotation = apart(chunk.base_T_tcps, poses)
    assert chunk.credible.all() and position < 0.15 and rotation < 0.15
    np.testing.assert_array_equal(chunk.openness, openness)


@settings(deadline=None, max_examples=15)
@given(seeds, st.permutations(range(3)))
def test_the_order_of_the_views_does_not_matter(seed, order):
    cameras, poses, openness = scene(seed, views=3)
    images = encode(poses, openness, cameras)
    one, other = decode(images, cameras), decode(images[:, order], [cameras[k] for k in order])
    np.testing.assert_allclose(other.base_T_tcps, one.base_T_tcps, atol=1e-9)
    np.testing.assert_array_equal(other.credible, one.credible)


@settings(deadline=None, max_examples=15)
@given(seeds, vectors, vectors)
def test_moving_the_whole_cell_moves_the_poses(seed, turn, shift):
    cameras, poses, openness = scene(seed, lens=True)
    move = se3.make(se3.so3_exp(3 * turn), 2 * shift)
    images = encode(poses, openness, cameras)
    still, moved = decode(images, cameras), decode(images, [c.moved(move) for c in cameras])
    np.testing.assert_allclose(moved.base_T_tcps, move @ still.base_T_tcps, atol=1e-7)
    np.testing.assert_allclose(moved.reproj_rms_px, still.reproj_rms_px, atol=1e-6)
    np.testing.assert_array_equal(moved.credible, still.credible)


@settings(deadline=None, max_examples=15)
@given(seeds, st.sampled_from([(64, 64), (96, 96), (256, 256)]))
def test_resized_cameras_decode_images_drawn_at_their_size(seed, size):
    cameras, poses, openness = scene(seed, (128, 128), lens=True)
    resized = [c.resized(size) for c in cameras]
    chunk = decode(encode(poses, openness, resized), resized)
    position, rotation = apart(chunk.base_T_tcps, poses)
    assert chunk.credible.all() and position < 0.25 and rotation < 0.25


@settings(deadline=None, max_examples=15)
@given(seeds, st.integers(0, 16), st.integers(0, 16))
def test_cropped_cameras_decode_cropped_images(seed, x, y):
    """Cropping changes the size that sigma is measured by, so the encoding is told the sigma that was drawn."""
    cameras, poses, openness = scene(seed, (144, 144), lens=True)
    images = encode(poses, openness, cameras)[:, :, y:y + 128, x:x + 128]
    cropped = [c.cropped(x, y, 128, 128) for c in cameras]
    encoding = ActionEncoding(sigma_fraction=0.05 * 144 / 128)
    chunk = decode(images, cropped, encoding)
    position, rotation = apart(chunk.base_T_tcps, poses)
    assert chunk.credible.all() and position < 0.3 and rotation < 0.3


@settings(deadline=None, max_examples=20)
@given(seeds, st.integers(0, 2), st.integers(0, 1), st.floats(-40, 40), st.floats(-40, 40))
@example(0, 0, 0, -4.0, -4.0)  # a mirrored pose explains five blobs as well as the true one does
def test_one_displaced_blob_never_makes_a_wrong_pose_credible(seed, colour, view, dx, dy):
    cameras, poses, openness = scene(seed, steps=1)
    images = encode(poses, openness, cameras)
    images[0, view, :, :, colour] = np.roll(images[0, view, :, :, colour], (round(dy), round(dx)), (0, 1))
    chunk = decode(images, cameras)
    if chunk.credible[0]:
        position, rotation = apart(chunk.base_T_tcps, poses)
        footprint = np.mean([np.linalg.norm(WORK - c.centre) / c.K[0, 0] for c in cameras])
        allowed = max(5.0, 1e3 * footprint)
        assert position < 1.2 * allowed and rotation < 1.2 * np.degrees(allowed / 100)
