"""`action-images bench modes` from its arguments to its table and JSON."""

import json

import pytest

from action_images_ros.cli import main

REST, COPY, MEAN, VELOCITY = "stay at rest", "copy first frame", "mean training motion", "constant velocity"


@pytest.fixture(scope="module")
def bench(tiny_model, tiny_shards, tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "modes.json"

    def run(*words):
        status = main(["bench", "modes", "--model", str(tiny_model), "--engine", "torch", "--data", str(tiny_shards[0]),
                       "--json", str(path), *map(str, words)])
        return status, json.loads(path.read_text()) if status == 0 else None

    return run


def test_every_mode_stands_beside_its_baselines(bench, tiny_shards, capsys):
    status, report = bench("--train", tiny_shards[0])
    assert status == 0 and report["windows"] == 2
    rows = {mode: list(table["rows"]) for mode, table in report["modes"].items()}
    actions = [REST, MEAN, VELOCITY]
    assert rows == {"policy": ["model, policy", *actions], "joint": ["model, joint", COPY, *actions],
                    "world": ["model, world", COPY],
                    "label": ["model, label", "optical flow of blobs", "optical flow of hand", *actions]}
    moved = report["modes"]["policy"]["rows"]
    assert moved[VELOCITY]["mean_mm"] == pytest.approx(0, abs=1e-3), "the recorded motion is straight to its end"
    assert moved[MEAN]["mean_mm"] == pytest.approx(0, abs=1e-3), "and the same in every episode"
    assert moved[REST]["last_mm"] == pytest.approx(1e3 * 3 * (0.01**2 + 0.02**2 + 0.01**2) ** 0.5, rel=1e-3)
    against = report["modes"]["policy"]["model_against"][VELOCITY]["mean_mm"]
    assert against["gain"] == pytest.approx(moved[VELOCITY]["mean_mm"] - moved["model, policy"]["mean_mm"])
    table = capsys.readouterr().out
    assert "mode label" in table and "in no package" in table and "nan" not in table


def test_without_what_a_baseline_needs_it_is_left_out(bench):
    status, report = bench("--modes", "policy", "--start", 0, "--episodes", 1)
    assert status == 0 and list(report["modes"]["policy"]["rows"]) == ["model, policy", REST]


def test_bad_requests_exit_with_2(bench, capsys):
    for words, said in ((("--episodes", 0), "--episodes 0"), (("--start", 9), "lower --start"),
                        (("--modes", "dream"), "mode is 'dream'")):
        assert bench(*words)[0] == 2
        assert said in capsys.readouterr().err
