"""What a model was trained on travels with it and is held against the cell."""

import json

import pytest

from action_images_ros.cell import Arm
from action_images_ros.errors import ModelError
from action_images_ros.model.config import ModelConfig
from action_images_ros.model.contract import DataContract

MINE = DataContract(("left", "right"), 10.0)
HERE = (("left", "right"), "fr3_link0", "fr3_hand_tcp")


def test_it_is_stored_and_read_with_the_model(tmp_path):
    ModelConfig(data=MINE).save(tmp_path)
    assert ModelConfig.load(tmp_path).data == MINE
    assert json.loads((tmp_path / "config.json").read_text())["data"]["views"] == ["left", "right"]
    old = json.loads((tmp_path / "config.json").read_text())
    del old["data"]
    (tmp_path / "config.json").write_text(json.dumps(old))
    assert ModelConfig.load(tmp_path).data == DataContract(), "models made before it take any views"


def test_a_cell_that_gives_the_same_is_accepted():
    MINE.require(*HERE)
    DataContract().require(("a", "b", "c"), *HERE[1:])
    assert (Arm().base_frame, Arm().tcp_frame) == (DataContract().base_frame, DataContract().tcp_frame)


@pytest.mark.parametrize(("cell", "named"), [
    ((("right", "left"), *HERE[1:]), "views was left, right, here it is right, left"),
    ((HERE[0], "world", HERE[2]), "base_frame was fr3_link0, here it is world"),
    ((*HERE[:2], "fr3_hand"), "tcp_frame was fr3_hand_tcp, here it is fr3_hand")])
def test_what_differs_is_named(cell, named):
    with pytest.raises(ModelError, match=named):
        MINE.require(*cell)


def test_everything_that_differs_is_named_at_once():
    assert len(MINE.differences(("one", "two"), "world", "fr3_hand")) == 3


def test_senseless_contracts_are_refused():
    with pytest.raises(ModelError, match="preprocessing"):
        DataContract(preprocessing="squeezed")
    with pytest.raises(ModelError, match="data.views names left, right"):
        ModelConfig(views=3, data=MINE)
