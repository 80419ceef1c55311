"""One cloud of our own for all journeys: started, deployed to and stocked once, on ports and in folders of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.background import free_port
from infra.local.cloud import LocalCloud
from infra.local.sandbox import SandboxProvider
from tests.conftest import ENVIRONMENT
from tests.journeys import books
from tests.journeys.stack import CATALOGUE, Stack, wait_for
from tests.journeys.weather import Weather

STAGE = "local"  # the stage on which X-Forwarded-For tells buyers apart
RETRY_AFTER = (0.5, 1, 2, 4, 8)  # seconds: the provider's patience, shortened
ANSWERED_WITHIN = 60  # seconds: whoever gives up sooner sends again, to one process more
NOTIFIED_AT_ONCE = 8  # each notification under way is a process here
KEYS_TRUSTED = 4  # seconds: a change of keys waits until no process can have older ones
STREAM_WITHIN = 3  # seconds in which the stream of the cards has told everything, where nothing else goes on
UNHURRIED = 120  # seconds: sixty processes share two cores here, where AWS gives each its own
LAST = "test_afterwards.py"  # looks at what all the others have left behind


@pytest.hookimpl(tryfirst=True)  # before -m chooses by the mark
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = [item for item in items if item.path.parent == Path(__file__).parent]
    for item in here:
        item.add_marker("journey")
    items.sort(key=lambda item: item in here and item.path.name == LAST)


@pytest.fixture(scope="session")
def local_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    home = tmp_path_factory.mktemp("journeys")
    (home / "shim").mkdir()
    cloud = LocalCloud(free_port(), home / "cloud", Weather(home / "shim").env)
    with pytest.MonkeyPatch.context() as patch:
        for name in ENVIRONMENT:  # moto's settings must not become the functions'
            patch.delenv(name, raising=False)
        cloud.start()
    try:
        yield cloud
    finally:
        cloud.stop()


@pytest.fixture(scope="session")
def stack(local_cloud: LocalCloud) -> Iterator[Stack]:
    """The whole of stage local, with the sample catalogue and no cards."""
    cloud, port = local_cloud, free_port()
    name = f"kaquan-{STAGE}"
    parameters = {"Stage": STAGE, "CloudUrl": cloud.url, "SandboxUrl": f"http://127.0.0.1:{port}"}
    cloud.deploy(name, parameters)
    take_time(cloud)
    outputs = cloud.outputs(name)
    secret = cloud.client("secretsmanager").get_secret_value(SecretId=outputs["SandboxSecret"])["SecretString"]
    books = cloud.state_dir / "sandbox.sqlite"
    with SandboxProvider(
        books, secret, port=port, retry_after=RETRY_AFTER, at_once=NOTIFIED_AT_ONCE, answer_within=ANSWERED_WITHIN
    ) as provider:
        weather = Weather(cloud.state_dir.parent / "shim")
        stack = Stack(cloud, STAGE, outputs, weather, provider, secret)
        assert stack.import_catalogue(CATALOGUE.read_bytes())["state"] == "done"
        yield stack


def take_time(cloud: LocalCloud) -> None:
    """Let no function be killed for this machine's being slow: its successor would make it slower still.

    And let a change of keys not wait as long as it would elsewhere.
    """
    functions = cloud.client("lambda")
    for function in [one for page in functions.get_paginator("list_functions").paginate() for one in page["Functions"]]:
        name = function["FunctionName"]
        ours = {"KEYRING_SECONDS": str(KEYS_TRUSTED), "SETTLE_SECONDS": str(STREAM_WITHIN)}
        settings = function["Environment"]["Variables"] | ours
        functions.update_function_configuration(
            FunctionName=name, Timeout=max(UNHURRIED, function["Timeout"]), Environment={"Variables": settings}
        )
        for alias in functions.list_aliases(FunctionName=name)["Aliases"]:
            version = functions.publish_version(FunctionName=name)["Version"]
            functions.update_alias(FunctionName=name, Name=alias["Name"], FunctionVersion=version)


@pytest.fixture(autouse=True)
def sound_books(request: pytest.FixtureRequest) -> Iterator[None]:
    """After every journey money, cards and books agree, whatever was done to them."""
    yield
    if "stack" in request.fixturenames:
        stack: Stack = request.getfixturevalue("stack")
        found = ["not looked at"]

        def sound() -> bool:
            found[:] = books.wrong(stack)
            return not found

        try:
            wait_for(sound, "sound books", seconds=20)
        except AssertionError:
            raise AssertionError("\n".join(found)) from None
