"""How long a door needs to load the catalogue and to search it, at 100 and at 100,000 SKUs."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import TypeVar

from tests.bench.report import Facts, Part, Row, table

ROOT = Path(__file__).parents[2]
SIZES = (100, 100_000)  # SKUs
QUERIES = ("王者", "wzry", "wangzhe", "腾讯视频 vip", "v001", "点券60", "chongzhi", "卡", "qx", "没有这个", "")
SPECS = ("月卡", "季卡", "年卡", "10元", "50元", "100元", "500元", "7天", "60点", "680点")

Found = tuple[str, float, str, float | None, str]  # name, value, unit, floor, what the floor is
Result = TypeVar("Result")


def measure(_: Facts) -> Part:
    return Part([row for size in SIZES for row in _measured(size)])


def _measured(size: int) -> list[Row]:
    with tempfile.NamedTemporaryFile(suffix=".gz") as file:
        # Each in its own process: memory is the peak of one that only builds, or only loads and searches.
        made = _child("make", size, file.name)
        used = _child("use", size, file.name)
    return [
        Row(f"search.{size}.{name}", value, unit, floor, text=text) for name, value, unit, floor, text in [*made, *used]
    ]


def _child(what: str, size: int, path: str) -> list[Found]:
    answer = subprocess.run(
        [sys.executable, "-m", "tests.bench.search", what, str(size), path],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [tuple(one) for one in json.loads(answer.stdout)]  # type: ignore[misc]


def _make(size: int, path: str) -> list[Found]:
    from shared.catalog import indexing

    skus = catalogue(size)
    (_, lines), seconds = _timed(lambda: indexing.snapshot(skus))
    packed = gzip.compress(lines, compresslevel=6)
    Path(path).write_bytes(packed)
    return [
        ("build", seconds * 1000, "ms", None, ""),
        ("snapshot", len(lines) / 1e6, "MB", None, ""),
        ("snapshot_gzip", len(packed) / 1e6, "MB", None, ""),
    ]


def _use(path: str) -> list[Found]:
    from shared.catalog.search import Snapshot

    before = _resident()
    packed = Path(path).read_bytes()
    snapshot, seconds = _timed(lambda: Snapshot(gzip.decompress(packed).split(b"\n")))
    memory = (_resident() - before) / 1024
    lines, unpacking = _timed(lambda: gzip.decompress(packed).split(b"\n"))
    products = [line for line in lines if b'"product":' in line]
    names = [json.loads(line)["product"]["name"] for line in products]
    took = {query: _middle(lambda query=query: snapshot.search(query, None, None, 20)) for query in QUERIES}
    slowest = max(took, key=lambda query: took[query])
    looking = median(_middle(lambda query=query: [name for name in names if query in name]) for query in QUERIES)
    looked = "floor: find the very text in the names"
    return [
        ("load", seconds * 1000, "ms", unpacking * 1000, "floor: gunzip and split into lines"),
        ("memory", memory, "MiB", sum(map(len, lines)) / 2**20, "floor: the bytes of the snapshot"),
        ("query.median", median(took.values()), "ms", looking, looked),
        ("query.slowest", took[slowest], "ms", looking, f"{looked}; slowest: {slowest}"),
    ]


def _middle(work: Callable[[], object]) -> float:
    """Milliseconds of the middle of nine tries."""
    return median(_timed(work)[1] for _ in range(9)) * 1000


def catalogue(size: int) -> list[object]:
    """As many SKUs as asked, with names put together from those of the sample, the same every time."""
    from shared.catalog import importing
    from shared.catalog.sku import Sku

    sample = importing.read((ROOT / "infra/local/sample/catalogue.csv").read_bytes()).skus
    names = sorted({sku.name for sku in sample})
    chance = random.Random(20261122)
    skus: list[object] = list(sample[:size])
    while len(skus) < size:
        like = chance.choice(sample)
        name = f"{like.name}{chance.choice(names)[:4]}{chance.randrange(10_000)}"
        for spec in chance.sample(SPECS, 3)[: size - len(skus)]:
            price = chance.randrange(100, 100_000)
            skus.append(
                Sku(
                    sku=f"X{len(skus):06d}",
                    category=like.category,
                    brand=like.brand,
                    name=name,
                    spec=spec,
                    kind=like.kind,
                    face_minor=price,
                    price_minor=price,
                    cost_e6=0,
                    account=like.account,
                    validity_days=like.validity_days,
                    limit_per_order=like.limit_per_order,
                    tags=like.tags,
                )
            )
    return skus


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def _resident() -> int:
    """KiB of memory this process holds."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1])


def main() -> None:
    if len(sys.argv) == 4:
        what, size, path = sys.argv[1:]
        json.dump(_make(int(size), path) if what == "make" else _use(path), sys.stdout)
        return
    print(table(measure({}).rows))


if __name__ == "__main__":
    main()
