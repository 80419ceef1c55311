"""How large the Lambda layer is, unzipped: the shared code and the locked packages, as `sam build` makes it for AWS."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from tests.bench.report import Facts, Part, Row

ROOT = Path(__file__).parents[2]
MB = 1_000_000  # bytes
BOTO = ("boto3", "botocore", "s3transfer", "jmespath", "urllib3", "dateutil", "python_dateutil")


def measure(_: Facts) -> Part:
    with tempfile.TemporaryDirectory(prefix="kaquan-bench-") as folder:
        subprocess.run(
            ["make", "--silent", "-f", ROOT / "Makefile", "build-SharedLayer", f"ARTIFACTS_DIR={folder}", "LAYER=full"],
            cwd=ROOT / "shared",
            env={**os.environ},
            check=True,
            capture_output=True,
        )
        packages = {path.name: _size(path) for path in (Path(folder) / "python").iterdir()}
    boto = sum(size for name, size in packages.items() if name.startswith(BOTO))
    largest = sorted(packages.items(), key=lambda one: -one[1])[:8]
    said = "The largest of the layer, in MB: " + ", ".join(f"{name} {size / MB:.0f}" for name, size in largest)
    row = Row("layer.unzipped", sum(packages.values()) / MB, "MB", boto / MB, "≤ 100", "floor: boto3 and what it needs")
    return Part([row], said)


def _size(path: Path) -> int:
    return sum(one.stat().st_size for one in [path, *path.rglob("*")] if one.is_file())
