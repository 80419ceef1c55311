"""One number for all that is deployed: `python infra/release.py WORDS…` prints it for the sources and these words."""

import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = (
    *("template.yaml", "Makefile", "infra/*.yaml", "infra/*.json", "infra/lock/runtime.txt"),
    *("functions/**/*.py", "shared/**/*"),
)


def sources() -> str:
    """Changes when anything that is deployed changes."""
    paths = {path for pattern in SOURCES for path in ROOT.glob(pattern) if path.is_file()}
    return digest(
        f"{path.relative_to(ROOT)} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in sorted(paths)
        if "__pycache__" not in path.parts
    )


def digest(words: Iterable[str]) -> str:
    """Sixteen hexadecimal digits that stand for these words."""
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]


if __name__ == "__main__":
    print(digest([sources(), *sys.argv[1:]]))
