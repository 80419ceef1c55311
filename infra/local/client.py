"""A shop seen from outside: what storefronts, buyers and operators do over HTTP."""

import json
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from infra.local.background import Failed, wait_until
from infra.local.cloud import LocalCloud
from infra.local.logins import logins, token
from infra.local.sandbox import SandboxProvider

CNY = "CNY"
IN_WORDS = {
    "string_too_short": "too short",
    "string_too_long": "too long",
    "string_pattern_mismatch": "not written as it should be",
    "less_than_equal": "too large",
    "greater_than_equal": "too small",
}
IMPORT_IS = {"check": "checking", "run": "running", "undo": "undoing"}
Watch = Callable[[dict[str, Any]], None]


class Refused(Failed):
    """The platform said no; the text is its own sentence."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        fields = ", ".join(f"{one['field']} is {_in_words(one['reason'])}" for one in problem.get("fields", []))
        said = f"{problem.get('detail', 'refused')} {fields}".strip()
        super().__init__(f"{said} ({status} {problem.get('code', '')})")
        self.status, self.problem = status, problem


class Waiting(Failed):
    """Nothing moves just now; it goes on by itself."""


@dataclass(frozen=True)
class Shop:
    """One deployment's API; `bearer` is an operator's token, or an order's."""

    api_url: str
    bearer: str = ""

    def call(self, method: str, path: str, body: object = None, bearer: str = "", key: str = "") -> Any:
        """key: what makes asking twice the same as asking once."""
        headers = {"Content-Type": "application/json", "Accept-Language": "en"}
        if key:
            headers["Idempotency-Key"] = key
        if proof := bearer or self.bearer:
            headers["Authorization"] = f"Bearer {proof}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.api_url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            try:
                problem = json.load(error)
            except ValueError:
                problem = {}
            raise Refused(error.code, problem) from None
        except OSError as error:
            raise Failed(f"{self.api_url} does not answer ({error}): is it running? `make run` starts it") from None

    def import_file(
        self, kind: str, file: Path, sku: str | None = None, watch: Watch = lambda _: None, **options: Any
    ) -> dict[str, Any]:
        """Take a file in: upload, check, run. `watch` is shown how far it is; what it has come to is returned."""
        job = self.upload(kind, file, sku, **options)
        view = self.move_import(job, "check", watch)
        return self.move_import(job, "run", watch) if view["state"] == "checked" else view

    def upload(self, kind: str, file: Path, sku: str | None = None, **options: Any) -> str:
        """Bring a file to where it can be checked; the import's job."""
        given = {name: value for name, value in options.items() if value is not None}
        wanted = {"kind": kind, "file_name": file.name, "sku": sku, "options": given or None}
        content = content_of(file)
        asked = self.call("POST", "/console/imports", {name: value for name, value in wanted.items() if value})
        put(asked["upload_url"], content)
        return str(asked["job_id"])

    def move_import(self, job: str, verb: str, watch: Watch) -> dict[str, Any]:
        """`check`, `run` or `undo` an import, and wait until that is over."""
        path = f"/console/imports/{job}"
        return self.watched(path, self.call("POST", f"{path}/{verb}"), (IMPORT_IS[verb],), watch)

    def watched(
        self,
        path: str,
        view: dict[str, Any],
        states: Sequence[str],
        watch: Watch,
        moves: Sequence[str] = ("counts",),
        patience: float = 90,
    ) -> dict[str, Any]:
        """The job once it has left these states; Waiting where nothing of `moves` has moved for so many seconds."""
        seen, moved_at = None, time.monotonic()
        while view["state"] in states:
            watch(view)
            if (now := [view[name] for name in moves]) != seen:
                seen, moved_at = now, time.monotonic()
            if time.monotonic() > moved_at + patience:
                raise Waiting(
                    f"nothing has moved for {patience:.0f} s: {path.rpartition('/')[2]} is tried again by itself;"
                    " look at it later, or read .local/cloud/cloud.log"
                )
            time.sleep(0.2)
            view = self.call("GET", path)
        watch(view)
        return dict(view)

    def place(
        self, sku: str, quantity: int = 1, method: str = "sandbox", account: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """account: of a top-up, what it is for, by the names of the SKU's fields."""
        line = {"sku": sku, "quantity": quantity}
        wanted = {
            "lines": [{**line, "account": dict(account)} if account else line],
            "contact": {"email": f"{uuid.uuid4().hex[:12]}@example.com"},
            "payment_method": method,
            "client_ref": uuid.uuid4().hex,
        }
        return dict(self.call("POST", "/orders", wanted))

    def sell_one(self, sku: str) -> dict[str, Any]:
        """Place an order, pay it on the sandbox's page, wait for delivery, and read the card."""
        placed = self.place(sku)
        order, proof = f"/orders/{placed['order_id']}", placed["access_token"]
        SandboxProvider.pay(placed["payment"]["redirect_url"])
        wait_until(
            lambda: self.call("GET", order, bearer=proof)["status"] == "delivered",
            seconds=60,
            what=f"{placed['order_id']} was delivered; `make stop`, then read .local/cloud/cloud.log",
        )
        (card,) = self.call("POST", f"{order}/reveal", bearer=proof)["cards"]
        return {"order_id": placed["order_id"], "total": placed["total"], **card}


def operator(run: LocalCloud, outputs: Mapping[str, Any], who: str = "owner") -> Shop:
    """The shop as an operator sees it: the first one of a role, or the one of a name."""
    try:
        known = logins(run, outputs["user_pool_id"])
        login = next((one for one in known if who in (one.role, one.username, one.username.partition("@")[0])), None)
        if login is None:
            raise Failed(f"nobody here is called {who}: {', '.join(one.username for one in known)}")
        return Shop(outputs["api_url"], token(run, outputs["console_client_id"], login))
    except (BotoCoreError, ClientError):
        raise Failed(f"no local cloud of this folder answers at {run.url}: `make run` starts it") from None


def money(amount: Mapping[str, Any]) -> str:
    sign = "¥" if amount["currency"] == CNY else f"{amount['currency']} "
    return f"{'-' if amount['amount_minor'] < 0 else ''}{sign}{abs(amount['amount_minor']) / 100:,.2f}"


def _in_words(reason: str) -> str:
    return IN_WORDS.get(reason, reason.replace("_", " "))


def content_of(file: Path) -> bytes:
    """What is in a file, or Failed."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise Failed(f"cannot read {file}: {error.strerror}") from None


def put(url: str, content: bytes) -> None:
    """Bring a file to a signed link, or Failed."""
    try:
        urllib.request.urlopen(urllib.request.Request(url, content, method="PUT"), timeout=60).close()
    except OSError as error:
        raise Failed(f"the upload failed ({error})") from None
