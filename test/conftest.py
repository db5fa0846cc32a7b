"""Every folder of tests may hold helper modules, which its tests import by name."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def _helpers() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(HERE.rglob("*.py")):
        if path.name.startswith("test_") or path.name == "conftest.py":
            continue
        if path.stem in found:
            raise pytest.UsageError(f"{path} and {found[path.stem]} have one name; rename one")
        found[path.stem] = path
    return found


for folder in {path.parent for path in _helpers().values()}:
    sys.path.append(str(folder))
