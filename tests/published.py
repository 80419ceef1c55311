"""Vendors' published test vectors, which are not ours to publish: they are read from where KAQUAN_VECTORS says."""

import json
import os
from pathlib import Path
from typing import Any

import pytest


def vectors(name: str) -> Any:
    """What a file of them holds; without the folder the test is skipped."""
    folder = os.environ.get("KAQUAN_VECTORS")
    if not folder:
        pytest.skip("KAQUAN_VECTORS does not say where the published vectors are")
    return json.loads((Path(folder) / name).read_text(encoding="utf-8"))
