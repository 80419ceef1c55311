"""How long each function takes to import, over `import boto3` and a client: both in fresh interpreters, by turns.

The processor time of the best of several runs counts: what disturbs a run only ever makes it longer.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.bench.report import Facts, Part, Row

ROOT = Path(__file__).parents[2]
RUNS = 7
FLOOR = "import boto3; boto3.client('dynamodb')"
AS_IN_LAMBDA = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "ap-southeast-1",
    "AWS_REGION": "ap-southeast-1",
    "LAMBDA_TASK_ROOT": "/var/task",  # the X-Ray library makes a client of its own where this is missing
    "STAGE": "test",
}


def measure(_: Facts) -> Part:
    doors = sorted(path.parent.name for path in ROOT.glob("functions/*/app.py"))
    codes = {"": FLOOR} | {door: f"import functions.{door}.app" for door in doors}
    best = dict.fromkeys(codes, float("inf"))
    for _ in range(RUNS):  # the first compiles what is not compiled yet, and is never the best
        for name, code in codes.items():
            best[name] = min(best[name], fresh_process(code))
    floor = 1000 * best.pop("")
    text = "floor: import boto3 and make a client"
    return Part(
        [Row(f"import.{door}", 1000 * took, "ms CPU", floor, "ratio ≤ 2.0", text) for door, took in best.items()]
    )


def fresh_process(code: str, *arguments: str) -> float:
    """Processor seconds of some code in a fresh interpreter, as in Lambda."""
    program = f"import sys, time; began = time.process_time()\n{code}\nprint(time.process_time() - began)"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        env={**AS_IN_LAMBDA, **os.environ},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.splitlines()[-1])
