"""What the layer carries is all that the functions need."""

import subprocess
import sys
from pathlib import Path

from infra import layer

IMPORT_ALL = """
import importlib, os, pathlib, sys
sys.path += [sys.argv[1], sys.argv[2]]
os.environ |= {"STAGE": "test", "AWS_DEFAULT_REGION": "us-east-1", "POWERTOOLS_TRACE_DISABLED": "true"}
for app in sorted(pathlib.Path(sys.argv[2]).glob("functions/*/app.py")):
    print(importlib.import_module(f"functions.{app.parent.name}.app").__name__)
"""


def test_every_function_can_be_imported_beside_the_locked_packages_alone(tmp_path: Path) -> None:
    layer.install(tmp_path, here=True)

    # -I and -S: neither this environment's packages nor anything the machine has.
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", IMPORT_ALL, str(tmp_path), str(layer.ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == len(list(layer.ROOT.glob("functions/*/app.py")))


def test_the_layer_for_lambda_holds_only_wheels_that_fit_there(tmp_path: Path) -> None:
    layer.install(tmp_path)

    natives = [path.name for path in tmp_path.rglob("*.so")]
    assert natives
    assert all("cpython-313-x86_64-linux-gnu" in name or ".abi3." in name for name in natives)
