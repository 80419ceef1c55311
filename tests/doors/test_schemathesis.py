"""The contract against the doors: whatever its reader may send, good or bad, is answered as it promises."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any, get_args

import pytest
import schemathesis
from botocore.client import BaseClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic_core.core_schema import ErrorType
from schemathesis.config import SchemathesisConfig
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import ignored_auth, missing_required_header
from werkzeug.test import EnvironBuilder, run_wsgi_app

from infra import contract
from shared.catalog import records as catalog
from shared.catalog.contract import SetTerms
from shared.catalog.terms import Terms
from shared.inventory import records as inventory
from shared.kernel import clock, ids, keyring, tokens
from shared.kernel.http import BODY_MAX, PROBLEM
from shared.kernel.records import Transaction
from shared.ledger import records as ledger
from shared.orders import records as orders
from shared.risk import records as risk
from shared.staff import records as staff
from shared.staff.permissions import ROLES
from shared.steps import settlement, stock_terms
from shared.steps.access import WRONG_MAX
from tests import admitted, imported
from tests.conftest import new_cloud
from tests.doors.conftest import new_shop
from tests.shop import Placed, Shop
from tests.wsgi import BASE, Gateway, Pool

SCALE = int(os.environ.get("SCALE", "1"))
EXAMPLES = 12 * SCALE  # of each operation, beside the systematic ones
DETERMINED = {"derandomize": True, "database": None, "deadline": None, "suppress_health_check": list(HealthCheck)}
CONFIG = SchemathesisConfig.from_dict(
    {
        "generation": {"deterministic": True, "max-examples": EXAMPLES},
        "phases": {"stateful": {"enabled": False}},
        "checks": {
            "positive_data_acceptance": {"enabled": False},  # see `understood`, which knows our refusals by name
            "negative_data_rejection": {"expected-statuses": [400, 401, 403, 404, 409, 413, 415, 422]},
        },
    }
)
# What says that a request is not of the promised form: nobody who keeps to the contract may hear it.
NOT_UNDERSTOOD = {"malformed_body", "unsupported_media_type", "method_not_allowed"}
OF_FORM = set(get_args(ErrorType))  # reasons of pydantic; ours are not_a_date, bad_cursor, …
WRITES = {"PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"} | {
    "PutObject", "DeleteObject", "SendMessage", "SendMessageBatch",
}  # fmt: skip
SOLD = ["G020", "G020", "C060", "V003", "B073"]
OPTIONAL = {"account", "channel", "quote_hash", "shape"}  # a made-up one is refused early, however well formed
ALWAYS_REFUSED = ("/webhooks/payments/{provider}", "/webhooks/suppliers/{supplier}")  # nothing generated is signed
SUPPLIER = "applicant"  # who is not let in yet: the cards that the shop sells are another's
COUNTER = "kaquan-test-counters"  # wrong tokens are counted there: the one thing a refused request may write


@dataclass
class World:
    """A shop behind its gateway, and real names for what the contract only knows as text."""

    shop: Shop
    pool: Pool
    chance: Random = field(default_factory=lambda: Random(1))
    orders: list[Placed] = field(default_factory=list)
    reservations: list[str] = field(default_factory=list)
    documents: list[str] = field(default_factory=list)
    seen: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.token = self.pool.token()
        self.gateway = Gateway()
        channel = {"channel": "taobao", "name": "Taobao"}
        self.key = self.shop.call("POST", "/console/channels", channel, groups="owner").body["key"]
        assert admitted.save(self.shop, SUPPLIER).status == 200

    def refill(self, in_a_hurry: bool) -> None:
        """See to it that there are orders in the states that a buyer or an operator may find them in.

        in_a_hurry: without one that is paid, which settling moves on.
        """
        for sku in catalog.skus(SOLD).values():
            if sku.terms != Terms():  # whatever was tried out must not keep the others from buying
                stock_terms.set_terms(sku.sku, SetTerms(), "ann", clock.now())
        states = {order.order_id: self.shop.status(order) for order in self.orders}
        wanted = {"placed", "delivered", "review"}
        self.orders = [order for order in self.orders if states[order.order_id] in wanted]
        missing = wanted - set(states.values())
        if "review" in missing:
            self._paid("C061", 11)  # dear enough for a person to look at
        if "delivered" in missing:
            self._stock("G020", 10)
            self._paid("G020")
        self.shop.pump()
        if "placed" in missing:
            self.orders += [self.shop.placed("C060", phone=self.phone()) for _ in range(4)]
        if not in_a_hurry:
            self._stock("G020", 3)
            self._paid("G020")
        today = clock.shanghai_day(clock.now())
        self.entries = [str(entry.entry_id) for entry in ledger.entries_of(today)]
        self.products = [one["product_id"] for one in self.shop.call("GET", "/products?limit=5").body["products"]]
        self.reviews = [str(review.id) for review in risk.open_reviews(5)]
        if not staff.open_tasks(1):
            with Transaction() as tx:
                staff.open_task(tx, "order_stuck", ids.new("ord", clock.now()), self.orders[0].order_id, clock.now())
        self.tasks = [str(task.id) for task in staff.open_tasks(5)]
        self.imports = [self._uploaded() for _ in range(2)]

    def _stock(self, sku: str, count: int) -> None:
        self.shop.stock(sku, [f"FUZZ-{self.chance.getrandbits(40):010x}" for _ in range(count)])

    def _uploaded(self) -> str:
        """An import whose file is there and that nobody has checked."""
        return imported.asked(f"FUZZ-{self.chance.getrandbits(40):010x}".encode(), "cards.txt", clock.now(), "G020")

    def a(self, status: str) -> Placed:
        """An order in that state."""
        return next(order for order in self.orders if self.shop.status(order) == status)

    def document(self) -> str:
        """A document of the supplier's, which he may bring a hundred of."""
        if not self.documents or (len(self.documents) < 50 and self.chance.random() < 0.2):
            self.documents.append(admitted.bring(self.shop, SUPPLIER, "tax"))
        return self.chance.choice(self.documents)

    def reservation(self) -> str:
        """An order of the channel, for which it has not said yet that it is paid for."""
        if not self.reservations or self.chance.random() < 0.2:
            wanted = {"lines": [{"sku": "C060", "quantity": 1}], "client_ref": f"{self.chance.getrandbits(128):032x}"}
            self.reservations.append(self.shop.call("POST", "/channel/reservations", wanted, self.key).body["order_id"])
        return self.reservations[-1]

    def _paid(self, sku: str, quantity: int = 1) -> None:
        order = self.shop.placed(sku, quantity, phone=self.phone())
        self.shop.pay(order)
        self.orders.append(order)

    def phone(self) -> str:
        return f"138{self.chance.randrange(10**8):08}"

    def known(self, name: str) -> Any:
        """A real value for a parameter or a member of that name, or None."""
        pick = self.chance.choice
        match name:
            case "order_id":
                return pick(self.orders).order_id
            case "product_id":
                return pick(self.products)
            case "review_id":
                return pick(self.reviews)
            case "entry_id":
                return pick(self.entries)
            case "day":
                today = clock.shanghai_day(clock.now())
                return str(today - timedelta(days=self.chance.randrange(3)))
            case "sku":
                return pick(SOLD)
            case "channel":
                return "taobao"
            case "provider" | "payment_method":
                return "sandbox"
            case "client_ref":
                return f"{self.chance.getrandbits(128):032x}"
            case "phone":
                return self.phone()
            case "email":
                return "ann@shop.example"
            case "quantity":
                return self.chance.randrange(1, 4)
            case "task_id":
                return pick(self.tasks)
            case "supplier":
                return SUPPLIER
            case "document_id":
                return self.document()
            case "job_id":
                return pick(self.imports)
        return None

    def realistic(self, case: schemathesis.Case) -> None:
        """Let most well-formed cases name what is really there: only then does the code behind the first look run."""
        if case.meta is None:
            return
        if not case.meta.is_negative_at(ParameterLocation.PATH) and self._mostly():
            case.path_parameters = {
                name: self.known(name) or value for name, value in (case.path_parameters or {}).items()
            }
            if case.operation.path.startswith("/channel/") and case.path_parameters:
                case.path_parameters["order_id"] = self.reservation()
        if not case.meta.is_negative_at(ParameterLocation.BODY) and isinstance(case.body, dict):
            case.body = whole(self._named(case.body) if self._mostly() else case.body)

    def _mostly(self) -> bool:
        return self.chance.random() < 0.8

    def _named(self, value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            left_out = OPTIONAL if self._mostly() else ()
            return {key: self._named(member, key) for key, member in value.items() if key not in left_out}
        if isinstance(value, list):
            return [self._named(member, name) for member in value]
        return (self.known(name) if self._mostly() else None) or value

    def credentials(self, case: schemathesis.Case) -> dict[str, str]:
        """What the one who may would send; now and then nothing, so that the generated header stands."""
        security = [scheme for choice in case.operation.definition.raw.get("security", ()) for scheme in choice]
        if not security or self.chance.random() < 0.1:
            return {}
        if security == ["operator"]:
            return {"Authorization": f"Bearer {self.token}"}
        if security == ["channel"]:
            return {"Authorization": f"Bearer {self.key}"}
        return {"Authorization": f"Bearer {tokens.access_token(str(case.path_parameters.get('order_id')))}"}

    def settle(self) -> None:
        """Let every message that was caused run its course, and see that none is a stumbling block."""

        def done(step: Any) -> None:
            assert not (step() or {}).get("batchItemFailures")

        self.shop.invoke = done
        self.shop.pump()
        self.shop.deadlines(clock.now())
        self.shop.pump()

    def check_books(self) -> None:
        """Every card is where the orders say it is, and the books balance."""
        told: dict[str, tuple[str, str]] = {}
        for head in orders.Head.scan(orders.Head.part == orders.HEAD):
            state = {"delivered": "sold"}.get(str(head.status), "held")
            if head.status in ("placed", "paid", "review", "cleared", "delivered"):
                for card_id in orders.order_of(str(head.order_id)).card_ids:
                    assert card_id not in told, "one card in two orders"
                    told[card_id] = (state, str(head.order_id))
        cards = {str(card.card_id): card for card in inventory.Card.scan()}
        free = {card_id for card_id, card in cards.items() if card.state == "available"}
        sold_before = {
            card_id: (str(card.state), str(card.order_id))
            for card_id, card in cards.items()
            if card.state == "sold" and card_id not in told
        }
        for _, order_id in sold_before.values():  # given back: the buyer has seen the code, it is never sold again
            assert str(orders.order_of(order_id).head.status) in ("refunding", "refunded")
        held = {card_id: (str(card.state), str(card.order_id)) for card_id, card in cards.items() if card_id in told}
        assert held == told
        assert len(free) + len(held) + len(sold_before) == len(cards)
        assert all(card.order_id is None and card.shelf for card_id, card in cards.items() if card_id in free)
        assert set(settlement.running(clock.now()).trial_balance.values()) <= {0}


def whole(value: Any) -> Any:
    """The same with 2 for 2.0: to a JSON Schema both are integers, to us only the first is."""
    if isinstance(value, dict):
        return {name: whole(member) for name, member in value.items()}
    if isinstance(value, list):
        return [whole(member) for member in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


@contextmanager
def writes() -> Iterator[list[str]]:
    """The writes that succeeded, as "operation table"."""
    original, seen = BaseClient._make_api_call, []

    def watched(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
        answer = original(client, operation, parameters)
        if operation in WRITES:
            seen.append(f"{operation} {parameters.get('TableName', '')}".strip())
        return answer

    BaseClient._make_api_call = watched
    try:
        yield seen
    finally:
        BaseClient._make_api_call = original


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    pool = Pool()
    with new_cloud(), new_shop(tmp_path_factory.mktemp("shop")) as shop, pool.open():
        yield World(shop, pool)


@pytest.fixture
def world(opened: World, request: pytest.FixtureRequest) -> Iterator[World]:
    opened.chance.seed(request.node.name)
    opened.refill(in_a_hurry="{order_id}" not in request.node.name)
    opened.seen.clear()
    yield opened
    opened.settle()
    opened.check_books()


schema = schemathesis.openapi.from_dict(json.loads(contract.OPENAPI.read_text("utf-8")), config=CONFIG)
schema.app = Gateway()


def is_problem(status: int, address: str) -> bool:
    """Payment providers and suppliers are refused in their own words, which are no problem documents."""
    own = any(where in address for where in ("/webhooks/payments/", f"/webhooks/suppliers/{SUPPLIER}"))
    return status >= 400 and not (status == 400 and own)


def is_refusal(response: schemathesis.Response) -> bool:
    return is_problem(response.status_code, str(response.request.url))


def understood(_: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case) -> None:
    """Who keeps to the contract may be refused, but not for the form of the request."""
    if case.meta and case.meta.generation.mode.is_positive and is_refusal(response):
        refusal = response.json()
        assert refusal["code"] not in NOT_UNDERSTOOD, response.text
        assert OF_FORM.isdisjoint(one["reason"] for one in refusal.get("fields", ())), response.text


def named(_: schemathesis.CheckContext, response: schemathesis.Response, __: schemathesis.Case) -> None:
    """A refusal is a problem document with our name in it, whatever was wrong with the request."""
    if is_refusal(response):
        assert response.headers["content-type"] == [PROBLEM]
        document = response.json()
        assert document["status"] == response.status_code
        assert document["type"] == f"urn:kaquan:problem:{document['code']}"


def nothing_written(written: list[str]) -> None:
    assert [write for write in written if write != f"UpdateItem {COUNTER}"] == []


@schema.parametrize()
@settings(max_examples=EXAMPLES, **DETERMINED)
def test_every_answer_is_one_that_the_contract_promises(case: schemathesis.Case, world: World) -> None:
    world.realistic(case)
    headers = world.credentials(case)
    with writes() as written:
        response = case.call(headers=headers)
    if response.status_code >= 400:
        nothing_written(written)
    world.seen[response.status_code] += 1
    buyers = case.operation.definition.raw.get("security") == [{"buyer": []}]
    case.validate_response(
        response,
        headers=headers,
        additional_checks=[understood, named],
        # To a buyer a wrong token is a 404, not a 401: it tells nobody what exists.
        excluded_checks=[ignored_auth, missing_required_header] if buyers else None,
        transport_kwargs={"headers": headers},
    )


# --- what a contract cannot say --------------------------------------------------------------------------------------


HOSTILE_TEXT = [
    "", " ", "\t", "x" * 10_240, "\0", "\x01\x1f\x7f", "a\r\nSet-Cookie: owned=1", "\xff\xfe", "王者🎁", "\u202een",
    "%00", "en;q=" + "9" * 400, "en;q=٣", "en;q=1e999", "zh,en;q=²", "," * 5_000, ";" * 5_000,
    "${jndi:ldap://127.0.0.1/a}", "() { :; }; echo", "Bearer", "Bearer ", "bearer  a.b.c", "Bearer " + "x." * 5_000,
    "Bearer 1." + "A" * 43, "Basic YTpi", "Bearer 王.者.🎁", "1" * 5_000, "-1", "::1", "127.0.0.1, " * 900,
]  # fmt: skip
HEADERS = [
    "Accept-Language", "Authorization", "Content-Type", "Idempotency-Key", "Sandbox-Signature", "Sandbox-Timestamp",
    "X-Forwarded-For",
]  # fmt: skip


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.text))


def ask(
    world: World, method: str, path: str, raw: bytes = b"", media: str | None = "application/json", **headers: str
) -> Answer:
    """A request as the gateway passes it on, whatever its headers hold, and a first look at the answer."""
    environ = EnvironBuilder(BASE + path, method=method, data=raw).get_environ()
    environ |= {f"HTTP_{name.upper()}": value.encode().decode("latin-1") for name, value in headers.items()}
    environ.pop("CONTENT_TYPE", None)
    content_type = environ.pop("HTTP_CONTENT_TYPE", media)
    if content_type is not None:
        environ["CONTENT_TYPE"] = content_type
    with writes() as written:
        body, status, told = run_wsgi_app(world.gateway, environ)
    answer = Answer(int(status.split()[0]), {k.lower(): v for k, v in told}, b"".join(body).decode())
    assert answer.status < 500, answer
    if answer.status >= 400:
        if is_problem(answer.status, path):
            assert answer.headers["content-type"] == PROBLEM, answer
            assert answer.json["type"] == f"urn:kaquan:problem:{answer.json['code']}"
        nothing_written(written)
    return answer


def bearer(order: Placed) -> str:
    return f"Bearer {order.token}"


def wanted(world: World, **more: Any) -> bytes:
    body = {
        "lines": [{"sku": "C060", "quantity": 1}],
        "contact": {"phone": world.phone()},
        "payment_method": "sandbox",
        "client_ref": f"{world.chance.getrandbits(128):032x}",
    }
    return json.dumps(body | more).encode()


def test_a_hostile_header_is_refused_by_name_or_changes_nothing(world: World) -> None:
    order = world.a("placed")
    asks = [
        ("GET", "/products?limit=1", b"", ""),
        ("GET", f"/orders/{order.order_id}", b"", bearer(order)),
        ("POST", f"/orders/{order.order_id}/payments", b'{"payment_method": "none"}', bearer(order)),
        ("POST", "/orders", wanted(world), ""),
        ("POST", "/webhooks/payments/sandbox", b"{}", ""),
        ("GET", "/console/tasks", b"", f"Bearer {world.token}"),
    ]
    every = list(itertools.product(asks, HEADERS, HOSTILE_TEXT))
    for (method, path, raw, authorization), name, text in world.chance.sample(every, min(len(every), 400 * SCALE)):
        headers = {"Authorization": authorization, name.replace("-", "_"): text}
        answer = ask(world, method, path, raw, **headers)

        assert not {"set-cookie", "owned"} & answer.headers.keys()
        assert "\n" not in "".join(answer.headers.values())
        if name == "Authorization" and authorization:
            assert answer.status in (401, 404), f"{path} let {text[:40]!r} in"


@pytest.mark.parametrize("path", ["/quotes", "/console/imports"])
def test_a_body_is_taken_up_to_its_limit_and_refused_one_byte_beyond(world: World, path: str) -> None:
    token = f"Bearer {world.token}"
    assert ask(world, "POST", path, b" " * (BODY_MAX - 1) + b"{", Authorization=token).json["code"] == "malformed_body"
    beyond = ask(world, "POST", path, b" " * BODY_MAX + b"{", Authorization=token)

    assert (beyond.status, beyond.json["code"]) == (413, "body_too_large")


NO_REQUESTS = [
    b"", b"null", b"[]", b"lines=1", b"\x00", b"\xff\xfe\x00", b'{"lines": "\xc3\x28"}', b'{"lines": "\xed\xa0\x80"}',
    b"[" * 60_000, b"1" * 60_000, '{"lines": []}'.encode("utf-16"), '{"lines": []}'.encode("utf-32"),
    b'\xef\xbb\xbf{"lines": []}', b'{"lines": [], "lines": []}', b'{"lines": [{"sku": "G020", "quantity": 1e400}]}',
    b'{"lines": [{"sku": "G020", "quantity": ' + b"9" * 5_000 + b"}]}",
    b'{"lines": [{"sku": "\\ud800", "quantity": 1}]}',
]  # fmt: skip


def test_bytes_that_are_no_request_are_refused_by_name(world: World) -> None:
    order = world.a("placed")
    for raw in NO_REQUESTS:
        for path, authorization in (
            ("/quotes", ""),
            ("/orders", ""),
            (f"/orders/{order.order_id}/payments", bearer(order)),
            ("/console/lists", f"Bearer {world.token}"),
            ("/webhooks/payments/sandbox", ""),
        ):
            assert ask(world, "POST", path, raw, Authorization=authorization).status in (400, 422), (path, raw[:40])


def test_a_body_without_a_media_type_is_json_and_one_of_another_type_is_refused(world: World) -> None:
    assert ask(world, "POST", "/orders", wanted(world), media=None).status == 201
    for media in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "🎁", "x" * 9_000):
        answer = ask(world, "POST", "/orders", wanted(world), Content_Type=media)
        assert answer.json["code"] == "unsupported_media_type", media


def test_where_no_body_is_read_any_media_type_will_do(world: World) -> None:
    order = world.a("delivered")
    for media in ("text/plain", "application/x-www-form-urlencoded", "🎁"):
        assert ask(world, "GET", "/products", Content_Type=media).status == 200
        path = f"/orders/{order.order_id}/reveal"
        answer = ask(world, "POST", path, b"a=1", Content_Type=media, Authorization=bearer(order))
        assert answer.status == 200


def test_a_method_that_an_address_does_not_take_is_refused_and_told_which_it_takes(world: World) -> None:
    for path in sorted({endpoint.path for endpoint in contract.endpoints()}):
        taken = {endpoint.method for endpoint in contract.endpoints() if endpoint.path == path}
        for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"} - taken:
            answer = ask(world, method, path.replace("{", "").replace("}", ""), b"{}")

            assert (answer.status, answer.json["code"]) == (405, "method_not_allowed"), f"{method} {path}"
            assert set(answer.headers["allow"].split(", ")) == taken


def test_an_unknown_address_is_not_found(world: World) -> None:
    for path in (
        "/", "/order", "/orders/", "/orders/x/y", "/orders//reveal", "/Orders", "/console", "/console/", "/admin",
        "/quotes/..", "/%2e%2e/quotes", "/quotes%00", "/quotes;a=b", "/.env", "/health/" + "x" * 9_000, "/王者",
    ):  # fmt: skip
        for method in ("GET", "POST", "DELETE"):
            assert ask(world, method, path, b"{}").json["code"] == "not_found", path


def test_someone_elses_order_is_as_unknown_as_none(world: World) -> None:
    mine, theirs = world.orders[0], world.orders[1]
    nobodys = ids.new("ord", clock.now())
    other_way = b'{"payment_method": "sandbox"}'
    for method, act, raw in (
        ("GET", "", b""), ("POST", "/cancel", b""), ("POST", "/reveal", b""), ("POST", "/payments", other_way),
    ):  # fmt: skip
        answers = [
            ask(world, method, f"/orders/{order_id}{act}", raw, Authorization=authorization)
            for order_id in (theirs.order_id, nobodys)
            for authorization in (bearer(mine), "", bearer(theirs)[:-1], f"Bearer {world.token}")
        ]
        assert {(answer.status, answer.text) for answer in answers} == {(404, answers[0].text)}


def test_an_address_that_guesses_tokens_is_stopped(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = clock.now()
    monkeypatch.setattr(clock, "now", lambda: moment)  # tries are forgotten with each quarter of an hour
    path = f"/orders/{world.orders[0].order_id}"
    codes = [world.shop.call("GET", path, token=f"1.{n}").body["code"] for n in range(WRONG_MAX + 3)]

    assert codes == ["not_found"] * WRONG_MAX + ["too_many_tries"] * 3


def test_a_role_may_do_what_the_contract_says_and_nothing_else(world: World) -> None:
    for endpoint in contract.endpoints():
        if endpoint.route.permission:
            path = endpoint.path.replace("{", "").replace("}", "")
            for role in (*ROLES, "nobody"):
                token = f"Bearer {world.pool.token(role)}"
                refused = ask(world, endpoint.method, path, b'{"x": 1}', Authorization=token).status == 403
                assert refused == (role not in endpoint.route.permission.roles), f"{role} at {path}"


# --- the payment provider --------------------------------------------------------------------------------------------

SENSELESS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
    st.sampled_from(["paid", "failed", "CNY", "USD", "x" * 3_000, "pay_", "money#sandbox#1", "", "\0", "\ud800"]),
    st.sampled_from([10**12, 10**12 + 1, 10**17, 10**30, 10**4_000, 0, -1]),
    st.sampled_from(["2026-11-22", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59Z"]),
)  # fmt: skip


def signed(world: World, raw: bytes) -> dict[str, str]:
    stamp = str(int(time.time()))
    secret = keyring.text("SANDBOX_SECRET").encode()
    signature = hmac.new(secret, f"{stamp}.".encode() + raw, hashlib.sha256).hexdigest()
    return {"Sandbox_Timestamp": stamp, "Sandbox_Signature": signature}


@given(data=st.data())
@settings(max_examples=4 * EXAMPLES, **DETERMINED)
def test_a_notification_that_is_signed_and_makes_no_sense_is_refused_by_name(world: World, data: st.DataObject) -> None:
    order = world.a("placed")
    message = {
        "notification_id": "sbn1", "merchant": "kaquan", "payment_id": order.payment_id, "provider_no": "sbx1",
        "amount_minor": 1, "currency": "CNY", "status": "paid", "paid_at": clock.iso(clock.now()),
    }  # fmt: skip
    for name in data.draw(st.lists(st.sampled_from(sorted(message)), min_size=1, max_size=3, unique=True)):
        message[name] = data.draw(SENSELESS)
    for name in data.draw(st.sets(st.sampled_from(sorted(message)), max_size=1)):
        del message[name]
    raw = json.dumps(message).encode()
    answer = ask(world, "POST", "/webhooks/payments/sandbox", raw, **signed(world, raw))

    assert answer.status in (200, 400, 404)
    assert world.shop.status(order) == "placed"


def test_a_signed_notification_nested_beyond_reason_is_refused_by_name(world: World) -> None:
    raw = b"[" * 60_000
    assert ask(world, "POST", "/webhooks/payments/sandbox", raw, **signed(world, raw)).status == 400
