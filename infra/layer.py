"""The packages of the Lambda layer: the locked ones and nothing else, as wheels that fit the target.

`python infra/layer.py --target FOLDER` makes them for Lambda (Python 3.13 on x86_64); `--here` for this interpreter, so
that a test can import every function beside them alone.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from packaging.tags import Tag, compatible_tags, cpython_tags, parse_tag, sys_tags

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "infra/lock/runtime.txt"
PYTHON = (3, 13)  # the Runtime of template.yaml
GLIBC = 34  # Lambda's Amazon Linux 2023 has glibc 2.34
LIMIT_MB = 250  # what Lambda unpacks at most, function and layers together


def install(target: Path, *, here: bool = False) -> None:
    """Put the locked packages into `target`: hashes checked, wheels only, nothing resolved anew."""
    lambda_ = ("--python-version", f"{PYTHON[0]}.{PYTHON[1]}", "--python-platform", f"x86_64-manylinux_2_{GLIBC}")
    subprocess.run(
        [
            *(Path(sys.executable).parent / "uv", "pip", "install", "--quiet", "--python", sys.executable),
            *("--target", target, "--no-deps", "--require-hashes", "--only-binary", ":all:", "--requirements", LOCK),
            *(() if here else lambda_),
        ],
        check=True,
    )
    check(target, here=here)


def check(target: Path, *, here: bool = False) -> None:
    """Refuse a layer that holds a wheel for another machine, or that Lambda would not unpack."""
    fit = frozenset(sys_tags()) if here else _lambda_tags()
    for wheel in sorted(target.glob("*.dist-info/WHEEL")):
        lines = wheel.read_text().splitlines()
        tags = frozenset().union(*(parse_tag(line.removeprefix("Tag: ")) for line in lines if line.startswith("Tag: ")))
        if not tags & fit:
            raise SystemExit(f"{wheel.parent.name} does not fit: {', '.join(map(str, tags))}")
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file()) / 1e6
    if size > LIMIT_MB:
        raise SystemExit(f"the layer is {size:.0f} MB unpacked, Lambda takes {LIMIT_MB}")
    print(f"layer: {size:.0f} MB unpacked")


def _lambda_tags() -> frozenset[Tag]:
    platforms = [f"manylinux_2_{minor}_x86_64" for minor in range(GLIBC, 4, -1)] + [
        "manylinux2014_x86_64",
        "linux_x86_64",
    ]
    native = cpython_tags(PYTHON, [f"cp{PYTHON[0]}{PYTHON[1]}"], platforms)
    return frozenset([*native, *compatible_tags(PYTHON, platforms=platforms)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", type=Path, required=True)
    parser.add_argument("--here", action="store_true")
    wanted = parser.parse_args()
    install(wanted.target, here=wanted.here)
