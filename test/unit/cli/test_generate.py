"""`action-images generate` from its arguments to the files it leaves, on a tiny model with random weights."""

import json

import cv2
import numpy as np
import pytest
from tiny_cell import CONFIG, WORDS, cameras, motion

from action_images_ros.cell import Calibration, Cell, View, WorkspaceBox
from action_images_ros.cli import main
from action_images_ros.codec import encode
from action_images_ros.geometry.se3 import quat_from_matrix
from action_images_ros.model.frames import model_camera
from action_images_ros.pictures.video_file import write_mp4
from action_images_ros.trajectory_csv import read_trajectory


def rows_of(path, steps=4, views=2):
    """A tiled PNG -> (T, V, h, w, 3) RGB."""
    image = cv2.imread(str(path))[..., ::-1]
    h, w = image.shape[0] // steps, image.shape[1] // views
    return image.reshape(steps, h, views, w, 3).transpose(0, 2, 1, 3, 4)


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    """A cell file of live cameras of 64x48."""
    views = tuple(View(name, f"/camera/{name}", name, camera, Calibration("2026-05-26", "exact", 0.0))
                  for name, camera in zip(("left", "right"), cameras((64, 48))))
    path = tmp_path_factory.mktemp("cell") / "cell.yaml"
    Cell("test", views, WorkspaceBox((0, -1, 0), (1, 1, 1))).save(path)
    return path


def generate(model, out, *words):
    return main(["generate", "--model", str(model), "--engine", "torch", "--out", str(out), *map(str, words)])


def pose_words():
    pose = motion()[0]
    return [f"{v:.6f}" for v in (*pose[:3, 3], *quat_from_matrix(pose[:3, :3]))]


def test_joint_mode_on_a_recorded_episode(tiny_model, tiny_shards, tmp_path, capsys):
    directory, images = tiny_shards
    assert generate(tiny_model, tmp_path, "--mode", "joint", "--episode", f"{directory}:1:1", "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["instruction"] == WORDS and summary["steps"] == 4 and summary["psnr_db"] > 0
    assert {"trajectory.csv", "trajectory.png", "action_images.png", "video.png", "generated.mp4", "overlay.mp4",
            "overlay.png"} <= set(summary["files"])
    video, actions = rows_of(tmp_path / "video.png"), rows_of(tmp_path / "action_images.png")
    assert np.array_equal(video[0], images[1]), "the given frame"
    assert not np.array_equal(video[1], images[1]), "a generated one"
    given = encode(motion()[1:2], np.ones(1), [c.resized((16, 16)) for c in cameras((32, 32))], CONFIG.encoding)
    assert np.abs(actions[0].astype(int) - given[0]).max() <= 1
    times, poses, _ = read_trajectory(tmp_path / "trajectory.csv")
    assert times == pytest.approx([0, 0.4, 0.8, 1.2])
    capture = cv2.VideoCapture(str(tmp_path / "generated.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_WIDTH) == 4 * capture.get(cv2.CAP_PROP_FRAME_HEIGHT), "video, action, twice"
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 16, "four steps of 0.4 s at 10 Hz"


def test_the_seed_decides(tiny_model, tiny_shards, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert generate(tiny_model, tmp_path / name, "--episode", f"{tiny_shards[0]}:1", "--seed", seed) == 0
    a, b, c = (rows_of(tmp_path / name / "action_images.png") for name in "abc")
    assert np.array_equal(a, b) and not np.array_equal(a, c)
    assert not (tmp_path / "a" / "video.png").exists(), "mode policy has no video"


def test_world_mode_on_pictures_follows_the_given_trajectory(tiny_model, cell, tmp_path):
    rng = np.random.default_rng(2)
    pictures = []
    for view in ("right", "left"):
        cv2.imwrite(str(tmp_path / f"{view}.png"), rng.integers(0, 256, (48, 64, 3), np.uint8))
        pictures.append(f"{view}={tmp_path / view}.png")
    quat = " ".join(pose_words()[3:]).replace(" ", ",")
    lines = [f"{0.4 * k},{','.join(f'{v:.6f}' for v in p[:3, 3])},{quat},1" for k, p in enumerate(motion()[:4])]
    (tmp_path / "go.csv").write_text("\n".join(["t_s,x_m,y_m,z_m,qx,qy,qz,qw,openness", *lines]) + "\n")
    words = ("--mode", "world", "--cell", cell, "--images", *pictures, "--instruction", WORDS)
    assert generate(tiny_model, tmp_path / "out", *words, "--actions", tmp_path / "go.csv") == 0
    coarse = [model_camera(c, CONFIG.action_size) for c in cameras((64, 48))]
    drawn = encode(motion()[:4], np.ones(4), coarse, CONFIG.encoding)
    assert np.abs(rows_of(tmp_path / "out" / "action_images.png").astype(int) - drawn).max() <= 1
    assert np.abs(read_trajectory(tmp_path / "out" / "trajectory.csv")[1] - motion()[:4]).max() < 1e-5
    left = cv2.imread(str(tmp_path / "left.png"))[..., ::-1][:, 8:56]
    seen = rows_of(tmp_path / "out" / "video.png")[0, 0]
    assert np.array_equal(seen, cv2.resize(left, (32, 32), interpolation=cv2.INTER_AREA)), "left is the first view"


def test_label_mode_takes_frames_of_a_video_at_the_model_s_spacing(tiny_model, cell, tmp_path):
    for view, lift in (("left", 0), ("right", 40)):
        frames = [np.full((48, 64, 3), 20 + lift + 8 * k, np.uint8) for k in range(18)]
        write_mp4(tmp_path / f"{view}.mp4", frames, 10.0)
    videos = [f"{view}={tmp_path / view}.mp4" for view in ("left", "right")]
    words = ("--mode", "label", "--cell", cell, "--video", *videos, "--instruction", WORDS, "--pose", *pose_words())
    assert generate(tiny_model, tmp_path / "out", *words, "--start", 0.3) == 0
    shades = rows_of(tmp_path / "out" / "video.png").mean((2, 3, 4))
    expected = 20 + 8 * np.array([3, 7, 11, 15])[:, None] + [0, 40]
    assert np.abs(shades - expected).max() < 4


def test_bad_requests_are_one_line_and_exit_status_2(tiny_model, tiny_shards, cell, tmp_path, capsys):
    directory = tiny_shards[0]
    cv2.imwrite(str(tmp_path / "small.png"), np.zeros((30, 64, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "good.png"), np.zeros((48, 64, 3), np.uint8))
    good = [f"{v}={tmp_path}/good.png" for v in ("left", "right")]
    on_images = ("--cell", cell, "--instruction", WORDS, "--images")
    for words, said in (
        (("--mode", "video", "--episode", f"{directory}:0"), "not trained for mode 'video'; legal: policy, joint"),
        (("--mode", "dream", "--episode", f"{directory}:0"), "mode is 'dream'; legal: policy"),
        ((), "exactly one of --images, --video and --episode"),
        (("--episode", f"{directory}:7"), "has 2 episodes"),
        (("--episode", f"{directory}:0:9"), "has 5 frames"),
        (("--episode", "somewhere"), "expected DIR:INDEX"),
        (("--images", *good), "need --cell"),
        ((*on_images, good[0]), "lacks view right; the cell has left, right"),
        ((*on_images, "top=x.png"), "each view of the cell once"),
        ((*on_images, *good), "give --pose"),
        ((*on_images, *good, "--pose", *pose_words(), "--openness", "2"), "legal: 0 (closed) to 1 (open)"),
        ((*on_images, *good, "--mode", "world"), "--actions FILE.csv"),
        ((*on_images, *good, "--mode", "label", "--pose", *pose_words()), "labels a video"),
        ((*on_images, good[0], f"right={tmp_path}/small.png", "--pose", *pose_words()), "64x30 but its calibration"),
        ((*on_images, good[0], f"right={tmp_path}/no.png", "--pose", *pose_words()), "not a readable picture"),
    ):
        assert generate(tiny_model, tmp_path / "out", *words) == 2, words
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1, error
    assert not (tmp_path / "out").exists()
