"""Run a supplier's stand-in: `python infra/local/supplier_shop.py --kind dujiao --state FILE.sqlite --port N`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

# A script's own folder comes first on the path; the tests import the same package by its name from the root.
sys.path[0] = str(Path(__file__).resolve().parents[2])

from infra.local.suppliers.common import Supplier, main  # noqa: E402

CLASSES = {
    "acg": "Acg",
    "dujiao": "Dujiao",
    "fulu": "Fulu",
    "kashangwl": "Kashangwl",
    "kasushou": "Kasushou",
    "reloadly": "Reloadly",
}


def _class(kind: str) -> type[Supplier]:
    found: type[Supplier] = getattr(import_module(f"infra.local.suppliers.{kind}"), CLASSES[kind])
    return found


KINDS: dict[str, Callable[[], type[Supplier]]] = {kind: partial(_class, kind) for kind in CLASSES}

if __name__ == "__main__":
    sys.exit(main(KINDS))
