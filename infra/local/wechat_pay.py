"""Run the WeChat Pay simulator: `python infra/local/wechat_pay.py --port 4581 --state FILE.sqlite`."""

from __future__ import annotations

import sys
from pathlib import Path

# A script's own folder comes first on the path; the tests import the same package by its name from the root.
sys.path[0] = str(Path(__file__).resolve().parents[2])

from infra.local.wechat.simulator import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
