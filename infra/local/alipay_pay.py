"""Run the Alipay simulator: `python infra/local/alipay_pay.py --port N --state FILE`."""

from __future__ import annotations

import sys
from pathlib import Path

# A script's own folder comes first on the path; the tests import the same package by its name from the root.
sys.path[0] = str(Path(__file__).resolve().parents[2])

from infra.local.alipay.gateway import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
