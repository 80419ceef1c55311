"""What a deployment sets, read when it is needed: a door starts with only the settings it uses."""

from __future__ import annotations

import os


class Missing(Exception):
    """A setting that the template should have given is not there."""


def get(name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise Missing(name) from None


def optional(name: str, default: str = "") -> str:
    return os.environ.get(name, default)


def whole(name: str, default: int) -> int:
    return int(os.environ.get(name) or default)


def stage() -> str:
    return os.environ.get("STAGE", "local")


def table(name: str) -> str:
    """The physical name of a table, as infra/tables.yaml gives it."""
    return f"kaquan-{stage()}-{name}"


def on_local_cloud() -> bool:
    """Whether this is the local stage on the local cloud: a stage that is only named so on AWS is not."""
    return stage() == "local" and "AWS_ENDPOINT_URL" in os.environ
