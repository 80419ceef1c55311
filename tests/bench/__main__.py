"""`make bench`: every benchmark in a process of its own, one table, and .bench/results.json."""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.report import Facts, Part, Row, save, table

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / ".bench/results.json"

PARTS = {
    "orders": "calls and capacity units of an order, with 1,000 and with 100,000 cards",
    "cpu": "processor time of placing an order",
    "imports": "import time of each function",
    "layer": "size of the layer",
    "search": "search at 100 and at 100,000 SKUs",
    "claims": "many buyers of one SKU at once, and units of a sale with 1,000 and with 100,000 cards",
    "card_imports": "import of a file of 100,000 cards",
    "recalls": "recall of a lot of 10,000 cards with 6,000 sold",
    "levels": "levels kept by the stream, and their recount of 30,000 cards",
    "supplier_sync": "sync of a supplier's list of 10,000 products",
    "purchasing": "of whom to buy, the change to the next supplier, and a bought order",
    "lag": "paid notification to readable card, on the deployed local cloud",
    "cost": "what it costs on AWS",
}

LEGEND = "The floor is found in the same run: the best a figure could be, or what its text says; the ratio is over it."


def measured(name: str, facts: Facts) -> Part:
    """One benchmark in a process of its own; what its doors log goes to a file and is shown if it fails."""
    with tempfile.TemporaryDirectory(prefix="kaquan-bench-") as folder:
        given, found, log = (Path(folder) / name for name in ("given.json", "found.json", "log"))
        given.write_text(json.dumps(facts))
        with log.open("w") as output:
            done = subprocess.run(
                [sys.executable, "-m", "tests.bench", name, "--given", given, "--found", found],
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode:
            sys.exit(f"\n{name} failed; the end of what it said:\n" + "\n".join(log.read_text().splitlines()[-30:]))
        return Part.load(found.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("part", nargs="*", choices=[[], *PARTS], default=[], help="only these; left out, all")
    parser.add_argument("--given", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--found", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.found:
        # Imported only in its own process: what one loads must not make another slower.
        part = importlib.import_module(f"tests.bench.{asked.part[0]}")
        asked.found.write_text(part.measure(json.loads(asked.given.read_text())).dump())
        return

    rows: list[Row] = []
    texts: list[str] = []
    facts: Facts = {}
    wanted = asked.part or list(PARTS)
    if {"lag", "cost"} & set(wanted) and "orders" not in wanted:
        wanted = ["orders", *wanted]  # they start from its figures
    for name in wanted:
        print(f"{name:12} {PARTS[name]} …", end=" ", flush=True)
        began = time.monotonic()
        part = measured(name, facts)
        print(f"{time.monotonic() - began:.0f} s", flush=True)
        rows += part.rows
        texts += [part.text] if part.text else []
        facts |= part.facts
    print("", *texts, f"{LEGEND}\n\n{table(rows)}", sep="\n\n")
    if not asked.part:
        save(rows, RESULTS)
        print(f"\nThe same in {RESULTS.relative_to(ROOT)}. Aims are not enforced: times depend on the machine.")


if __name__ == "__main__":
    main()
