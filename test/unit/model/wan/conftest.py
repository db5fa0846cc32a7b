import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).parent))

import pytest  # noqa: E402

torch = pytest.importorskip("torch", reason="the Wan-style transformer needs the training extra")
pytest.importorskip("diffusers", reason="the Wan-style transformer needs the training extra")
torch.set_num_threads(1)


@pytest.fixture
def model():
    from instances import random_model

    return random_model()
