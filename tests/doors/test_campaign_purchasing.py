"""Hundreds of orders that are bought from six suppliers, with everything that goes wrong, and what is true after it.

The clock of shop and suppliers goes on by leaps. Suppliers hang up, lie, change prices, deliver late, half or what they
had delivered before, call back late, twice or with lies; processes die; staff pause, suspend and decide. Then time goes
by, all answer again, persons do what only they can, and each purchase must be accounted for, to the code and the cent.
"""

from __future__ import annotations

import heapq
import json
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
from botocore.client import BaseClient

from infra.local.supplier_shop import KINDS as STAND_INS
from infra.local.suppliers.called_back import CalledBack
from infra.local.suppliers.common import Product
from infra.local.suppliers.common import Supplier as StandIn
from infra.local.suppliers.ledger import GIVEN_BACK, OPEN, Card, Order
from shared.inventory import opening
from shared.inventory import records as inventory
from shared.kernel import aws, clock
from shared.kernel.money import minor_from_e6
from shared.orders.contract import Contact, PlaceOrder, WantedLine
from shared.staff import records as staff
from shared.steps import order_intake, purchase_received, supplier_sync
from shared.suppliers import accounts, attempts, prices
from shared.suppliers.accounts import Head
from shared.suppliers.admission import Standing
from shared.suppliers.scoring import Tier
from tests.crowd import SCALE, Crowd, Item, Person, crowded
from tests.deaths import Died
from tests.doors.test_campaign_life import dying, stored, unread
from tests.doors.test_campaign_payments import Watch
from tests.hub import Selling, selling
from tests.journeys.test_afterwards import readings
from tests.shop import Placed, Shop

ORDERS = 100  # of one seed
SEEDS = 5 * SCALE  # 500 orders of all, in a soak 10,000
DYING = 0.10  # the share of steps that are to die
CARDS, TOPUP = ("V001", "V006", "M016"), "V005"  # 25.00, 19.80, 14.80; 24.50 for a QQ number
LATER = (1, 4, 31, 61, 61, 250, 250, 1_500, 1_500, 300, 300, 1_500, 300, 300)  # minutes: till all policies end
LAST = (2, 31, 300, 1_500) * 8  # minutes: in each, two questions for each supplier, and what a person settles then
SETTLED = {"delivered", "refunded", "cancelled", "expired"}
STATES = {attempts.AttemptState.DELIVERED, attempts.AttemptState.LATE, attempts.AttemptState.FAILED}
FAIR = {CARDS[0]: 19_800_000, CARDS[1]: 15_900_000, CARDS[2]: 11_900_000, TOPUP: 19_200_000}
TIMELY = timedelta(minutes=40)  # after that a supplier's list is read anew
CODE = re.compile(rb"(?:[0-9A-F]{4}-){3}[0-9A-F]{4}|[0-9A-F]{16}|KQ-?CANARY-?[0-9A-F]{16}|199\d{8}|[0-9a-f]{24,}", re.I)


class Kind(NamedTuple):
    """How one kind of supplier is asked, by what name he is armed, and what his traits are in terms of ours."""

    places: str  # the route of a purchase
    asks: tuple[str, ...]  # the routes of a question what became of it
    terms: Mapping[tuple[str, str], Mapping[str, str]] = {}  # what we know of him if he is so
    topup: str = ""  # his name of the field that a top-up asks for
    denies: str = ""  # the route on which he may not find what is there


_REPEAT = {("repeat", how): {"trait.repeat": how} for how in ("buys", "replays", "refuses")}
_BY_OURS = {
    ("asks_by_ours", "yes"): {"trait.asks_by_ours": "true"},
    ("asks_by_ours", "no"): {"trait.asks_by_ours": "false"},
}
_SIGNED_PATH = {("callback_path", "of_the_url"): {"callback_path": "/webhooks/suppliers/{code}"}}
_CIPHER = {("card_cipher", "aes"): {"card_cipher": "aes"}}
KINDS = {
    "dujiao": Kind("buy", ("order", "product"), {**_REPEAT, **_SIGNED_PATH}, "qq"),
    "kasushou": Kind("buy", ("order",), {**_REPEAT, **_BY_OURS}, "qq"),
    "acg": Kind("trade", ("query", "item")),
    "fulu": Kind("buy", ("query", "goods"), {**_REPEAT, **_CIPHER}, "charge_account", "query"),
    "kashangwl": Kind("buy", ("order",), {**_REPEAT, **_BY_OURS}, "qq"),
    "reloadly": Kind("buy", ("cards", "history", "status", "token"), _REPEAT, denies="history"),
}
NEVER = {
    *("before_slow", "slow"),  # a pause is silence that takes longer
    "absent",  # see `deny`
    *("codes_in", "callback_address"),  # pictures are no goods of ours; we live at 127.0.0.1
}
DOLLAR_E6 = 7_100_000
"""What a dollar costs us, in millionths of a yuan."""


@dataclass
class Later:
    """SQS, as far as it keeps a message back: until the campaign's clock has come there."""

    waiting: list[tuple[float, int, dict[str, Any]]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)

    @contextmanager
    def keeping(self) -> Iterator[None]:
        original = BaseClient._make_api_call

        def kept(client: BaseClient, operation: str, given: dict[str, Any]) -> Any:
            delay = max((one.get("DelaySeconds", 0) for one in given.get("Entries", ())), default=0)
            if operation != "SendMessageBatch" or not delay:
                return original(client, operation, given)
            entries = [{name: one[name] for name in ("Id", "MessageBody")} for one in given["Entries"]]
            heapq.heappush(self.waiting, (time.time() + delay, next(self._numbers), {**given, "Entries": entries}))
            return {"Successful": [], "Failed": []}

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(BaseClient, "_make_api_call", kept)
            yield

    def send_due(self) -> None:
        while self.waiting and self.waiting[0][0] <= time.time():
            aws.client("sqs").send_message_batch(**heapq.heappop(self.waiting)[2])


@dataclass
class Market:
    """What happens in one shop, by chance."""

    crowd: Crowd
    watch: Watch
    later: Later
    chance: Random
    sellers: dict[str, Selling]
    traits: dict[str, dict[str, str]]
    placed: dict[str, int] = field(default_factory=dict)  # orders and what was paid for them, in minor units
    letters: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    secrets: set[bytes] = field(default_factory=set)
    barred: list[str] = field(default_factory=list)  # purchases of whom nothing was to be bought
    deaths: Counter[str] = field(default_factory=Counter)
    did: Counter[str] = field(default_factory=Counter)
    aside: set[str] = field(default_factory=set)  # of whom nothing may be bought, after the last act
    denied: dict[str, float] = field(default_factory=dict)  # when a supplier began to deny orders
    synced: float = 0.0
    safe: bool = False  # nobody dies any more

    @property
    def shop(self) -> Shop:
        return self.crowd.shop

    # --- how it dies ---

    def mortal(self, step: Callable[[], Any], name: str = "worker") -> Any:
        """Do it, or die on the way; then it comes again, or is lost, and the deadlines find it."""
        if self.safe or self.chance.random() > DYING:
            return step()
        try:
            with dying(self.chance.choice((1, 1, 2, 3, 4, 6)), before=self.chance.random() < 0.5):
                return step()
        except Died:
            self.deaths[name] += 1
            return step() if self.chance.random() < 0.6 else None

    # --- what buyers do ---

    def order(self) -> None:
        person = Person(self.chance.randrange(10**7, 10**8))
        qq = f"199{self.chance.randrange(10**8):08}"
        self.secrets |= {person.phone.encode(), qq.encode()}
        skus = self.chance.choices((*CARDS, TOPUP), (4, 3, 2, 2), k=self.chance.choice((1, 1, 1, 2)))
        lines = [
            WantedLine(
                sku=sku, quantity=self.chance.choice((1, 1, 1, 2, 3, 6)), account={"qq": qq} if sku == TOPUP else None
            )
            for sku in dict.fromkeys(skus)
        ]
        wanted = PlaceOrder(
            lines=lines,
            contact=Contact(phone=person.phone),
            payment_method="sandbox",
            client_ref=f"{self.chance.getrandbits(160):040x}",
        )
        placed = self.crowd.asked(lambda: order_intake.place(wanted, person.caller, clock.now()))
        if placed is None:
            return
        assert placed.payment
        order = Placed(placed.order_id, placed.access_token, str(placed.payment.redirect_url), "")
        self.placed[placed.order_id] = placed.total.amount_minor
        self.crowd.pay(order)

    # --- what suppliers do ---

    def one(self) -> Selling:
        return self.chance.choice([*self.sellers.values()])

    def trouble(self) -> None:
        one = self.one()
        kind, known = KINDS[one.stand_in.kind], one.stand_in.fault_kinds
        route = self.chance.choice((kind.places, kind.places, kind.places, *kind.asks))
        faults = [fault for fault in known[route] if fault not in NEVER and not fault.startswith("refuse_")]
        if self.chance.random() < 0.15:
            faults = [fault for fault in known[route] if fault.startswith("refuse_")]
        fault = self.chance.choice(faults)
        more = {"seconds": self.chance.choice((1, 20, 60))} if "late" in fault or "unknown" in fault else {}
        if fault == "late_asks":
            more = {"seconds": self.chance.choice((1, 2, 5, 9))}
        one.misbehave(route, fault, self.chance.choice((1, 1, 2, 4)), **more)
        self.did[f"{one.code} {route} {fault}"] += 1

    def cheat(self) -> None:
        one = self.one()
        one.misbehave(KINDS[one.stand_in.kind].places, self.chance.choice(("same_code", "half", "dearer")))

    def deny(self) -> None:
        """The answer to an order is lost, and who is asked after it does not find it for a while.

        Not for as long as policy goes on asking, nor again before it has ended: what is denied for ever is lost.
        """
        one = self.chance.choice([one for one in self.sellers.values() if KINDS[one.stand_in.kind].denies])
        if time.time() - self.denied.get(one.code, 0) > 3 * attempts.LOOK_BACK.total_seconds():
            self.denied[one.code] = time.time()
            one.misbehave(KINDS[one.stand_in.kind].places, "silent")
            one.misbehave(KINDS[one.stand_in.kind].denies, "absent", 2)

    def find_again(self) -> None:
        for code, at in self.denied.items():
            if time.time() - at > attempts.LOOK_BACK.total_seconds() / 2:
                one = self.sellers[code]
                one.misbehave(KINDS[one.stand_in.kind].denies, "absent", 0)

    def speak_oddly(self) -> None:
        one = self.one()
        if calls := [route for route in ("callback", "notify") if route in one.stand_in.fault_kinds]:
            route = self.chance.choice(calls)
            faults = [fault for fault in one.stand_in.fault_kinds[route] if fault not in NEVER]
            one.misbehave(route, self.chance.choice(faults), self.chance.choice((1, 3)))

    def go_down(self) -> None:
        StandIn.go_down(self.one().url, self.chance.choice((20, 200, 900)))

    def reprice(self) -> None:
        """Mostly a little, at times by a half, and nobody is told."""
        one = self.one()
        product = self.chance.choice(one.stand_in.ledger.products())
        share = self.chance.choice((0.97, 0.99, 1.01, 1.03, 1.5))
        StandIn.change_product(one.url, product.sku, cost_e6=_cents(FAIR[_sku_of(product)] * share / _rate(one)))

    def lie(self) -> None:
        """Of its stock; later there is some again."""
        one = self.one()
        product = self.chance.choice(one.stand_in.ledger.products())
        lies = self.chance.random() < 0.6
        values = {"stock": self.chance.choice((0, 1, 3)), "shown": 50} if lies else {"stock": 500, "shown": None}
        StandIn.change_product(one.url, product.sku, **values)

    def run_dry(self) -> None:
        StandIn.set_balance(self.one().url, self.chance.choice((0, 30_000_000)))

    def forge(self) -> None:
        """Somebody claims that something became of an order, or the supplier himself says it again."""
        one = self.one()
        orders = [order for order in one.stand_in.ledger.orders()[-5:] if order.notify_url]
        if orders and "notify" in one.stand_in.fault_kinds:
            order, how = self.chance.choice(orders), self.chance.choice(("", "wrong_signature", "garbage"))
            StandIn.tell(one.url, order.order_no, self.chance.choice(("", "failed", "delivered")), how)

    def read(self) -> None:
        """Hand in what lies there, in any order; some of it lies on, and comes again."""
        while not self.shop.inbox.callbacks.empty():
            self.letters.append(self.shop.inbox.callbacks.get_nowait())
        self.chance.shuffle(self.letters)
        again = []
        while self.letters:
            path, headers, raw = self.letters.pop()
            if self.chance.random() < 0.4:  # nobody acknowledges, so they come again until their suppliers are tired
                continue
            if self.chance.random() < 0.2:
                again.append((path, headers, raw))
            answer = self.mortal(lambda: self.shop.call("POST", path, raw.decode(), **headers), "callback")  # noqa: B023
            if answer:
                self.did[f"callback {answer.status}"] += 1
        self.letters = again

    # --- what we do ---

    def wait(self) -> None:
        self.pass_by(self.chance.choice((3, 10, 40, 200)))

    def pause(self) -> None:
        code = self.one().code
        if self.chance.random() < 0.5:
            accounts.pause(code, "ann")
        else:
            Head(code).update([Head.standing.set(Standing.SUSPENDED)])

    def stock(self) -> None:
        self.crowd.stock(self.chance.choice(CARDS), self.chance.choice((2, 5)))

    def decide(self) -> None:
        """A person looks at what waits for one, and at suppliers that were set aside."""
        for one in self.sellers.values():
            head = one.head
            if head.standing == Standing.SUSPENDED:
                Head(one.code).update([Head.standing.set(Standing.APPROVED)])
            if head.stopped or head.paused_by:
                self.desk(f"/console/suppliers/{one.code}/resume")
            if one.stand_in.ledger.balance_e6() < 10**9:
                StandIn.set_balance(one.url, 10**12)
        for task in staff.open_tasks(100):
            kind, about = str(task.kind), str(task.about)
            if kind == "price_jump" and self.chance.random() < 0.5:
                self.did["price allowed"] += 1
                self.desk(f"/console/purchases/{about}/allow", {"most_minor": 4_000, "note": "a good buyer"})
            elif kind == "purchase_unknown":
                self.find_out(about)

    def find_out(self, number: str) -> None:
        """He asks the supplier by telephone, who looks into his books."""
        [head] = [one for one in self.attempts() if one["number"] == number]
        one = self.sellers[head["supplier"]]
        found = one.stand_in.ledger.ask(ours=number)
        if any(order.state in OPEN for order in found):
            return
        kept = [order for order in found if order.state not in GIVEN_BACK]
        wanted: dict[str, Any] = {"outcome": "failed", "note": "asked him"}
        if kept and kept[0].kind == "card" and not kept[0].cards:  # he has kept the money for nothing
            wanted["cost_minor"] = minor_from_e6(_landed(one, kept[0]))
        elif kept:
            [order] = kept
            codes = [self.told(one.code, card) for card in order.cards]
            cost = minor_from_e6(_landed(one, order))
            wanted = {"outcome": "delivered", "note": "asked him", "cost_minor": cost}
            wanted |= {"pieces": order.quantity} if order.kind == "topup" else {"cards": codes}
        self.did[f"settled {wanted['outcome']}"] += 1
        self.desk(f"/console/purchases/{number}/settle", wanted)

    def told(self, code: str, card: Card) -> dict[str, str]:
        """A card as this supplier shows it, to us and to a person who asks him."""
        traits = self.traits[code]
        if traits.get("card_parts") == "number":
            return {"code": card.card_no}
        alone = (traits.get("card_parts"), traits.get("card_no"), traits.get("payload"))
        if traits.get("payload") == "pairs":
            return {"code": f"{card.card_no} {card.password}"}
        return {"code": card.password} | ({} if {"pin", "empty", "codes"} & {*alone} else {"number": card.card_no})

    def desk(self, path: str, body: Any = None) -> None:
        answer = self.mortal(lambda: self.shop.call("POST", path, body, groups="owner"), "desk")
        assert answer is None or answer.status in {200, 409}, (path, body, answer)

    def happen(self) -> None:
        weights = {
            self.order: 30, self.trouble: 16, self.speak_oddly: 4, self.cheat: 3, self.deny: 2,
            self.go_down: 1, self.reprice: 3, self.lie: 3,
            self.run_dry: 1, self.forge: 2, self.read: 4, self.wait: 12, self.pause: 1, self.stock: 1, self.decide: 2,
        }  # fmt: skip
        [act] = self.chance.choices(list(weights), list(weights.values()))
        self.did[act.__name__] += 1
        self.watched(act)

    # --- time ---

    def watched(self, act: Callable[[], Any]) -> None:
        """Do it, and see that nobody sold us anything who was set aside before and is so after it."""
        before = {code: self.sold(code) for code in self.aside}
        act()
        self.aside = self.set_aside()
        for code in self.aside & before.keys():
            if self.sold(code) != before[code]:
                self.barred.append(f"{code} sold {self.sold(code) - before[code]} orders in {act}")

    def set_aside(self) -> set[str]:
        """Of whom nothing may be bought."""
        return {code for code, head in accounts.heads(self.sellers).items() if not head.may_buy("2000-01-01")}

    def sold(self, code: str) -> int:
        with self.sellers[code].stand_in.store.transaction() as db:
            return int(db.execute("SELECT COUNT(*) FROM orders").fetchone()[0])

    def pass_by(self, seconds: float) -> None:
        self.watch.ahead += seconds
        self.find_again()
        for one in self.sellers.values():
            one.stand_in.wake()
        if time.time() - self.synced > TIMELY.total_seconds():
            self.sync()
        self.later.send_due()
        self.mortal(lambda: self.shop.deadlines(clock.now()), "deadlines")
        self.shop.pump()

    def sync(self) -> None:
        self.synced = time.time()
        self.mortal(lambda: supplier_sync.work(clock.now()), "sync")

    def recover(self) -> None:
        """From here on nobody dies and all answer; persons do what only they can, and time goes by."""
        self.safe, self.chance = True, Random(1)
        for one in self.sellers.values():
            StandIn.go_down(one.url, 0)
            for route, known in one.stand_in.fault_kinds.items():
                one.misbehave(route, known[0], 0)
            for product in one.stand_in.ledger.products():
                StandIn.change_product(one.url, product.sku, stock=500, shown=None)
        self.crowd.settle()
        for minutes in LATER:
            self.read()
            self.go_on(minutes)
        for minutes in LAST:
            if self.at_rest():
                break
            self.go_on(minutes)

    def go_on(self, minutes: int) -> None:
        self.decide()
        self.watched(lambda: self.pass_by(minutes * 60))

    def at_rest(self) -> bool:
        """Nobody waits for anything."""
        heads = [item for item in self.crowd.table("orders") if item["part"] == "head"]
        return all(head["status"] in SETTLED and "due_at" not in head for head in heads) and not any(
            "due_at" in one and one["state"] in STATES for one in self.attempts()
        )

    def attempts(self) -> list[Item]:
        return [item for item in self.crowd.table("purchases") if "#" in item["part"]]


def _landed(one: Selling, order: Order) -> int:
    """What he says that an order cost us, in millionths of a yuan: of a part that they give back, few say it."""
    tells = one.stand_in.traits.get("order_money") == "told" or order.state in GIVEN_BACK
    cost_e6 = order.total_e6 - (order.returned_e6 if tells else 0)
    return prices.landed_e6(cost_e6, round(_rate(one) * 1_000_000))


def _rate(one: Selling) -> float:
    return DOLLAR_E6 / 1_000_000 if one.stand_in.kind == "reloadly" else 1.0


def _cents(cost_e6: float) -> int:
    """The same in whole cents."""
    return round(cost_e6 / 10_000) * 10_000


def _sku_of(product: Product) -> str:
    return product.name.partition(" ")[0]


class Audit:
    """The shop's tables beside its suppliers' own books, at rest."""

    def __init__(self, market: Market) -> None:
        table = market.crowd.table
        self.market = market
        self.attempts = {item["number"]: item for item in market.attempts()}
        self.orders = {code: one.stand_in.ledger.orders() for code, one in market.sellers.items()}
        self.tasks = {(task["kind"], task["about"]): "open" in task for task in table("tasks")}
        parts = table("orders")
        self.heads = {item["order_id"]: item for item in parts if item["part"] == "head"}
        self.lines = [item for item in parts if item["part"].startswith("line#")]
        self.cards = table("cards")
        self.entries = [item for item in table("ledger") if "legs" in item]
        self.legs = [
            (entry, account, minor, sku, quantity)
            for entry in self.entries
            for account, minor, sku, quantity in (
                [*leg[:2], *[*leg[3:], None, None][:2]] if len(leg) == 5 else [*leg[:2], *[*leg[2:], None, None][:2]]
                for leg in json.loads(entry["legs"])
            )
        ]

    def wrong(self) -> list[str]:
        return [*self._purchases(), *self._codes(), *self._waiting(), *self._books(), *self.market.barred]

    def _purchases(self) -> Iterator[str]:
        """What cost us money is what we know of, once for each number, and something was done about it."""
        for code, orders in self.orders.items():
            kept: dict[str, list[Order]] = defaultdict(list)
            for order in orders:
                whole_e6 = order.unit_e6 * order.quantity
                # Half of one piece is none: its money is back, and nothing came.
                if order.state not in GIVEN_BACK and (order.cards or order.returned_e6 < whole_e6):
                    kept[order.ours].append(order)
            for number, some in kept.items():
                attempt = self.attempts.get(number)
                if len(some) > 1:
                    yield f"{number} was bought {len(some)} times at {code}"
                if attempt is None or attempt["supplier"] != code:
                    yield f"{number} was bought at {code}, and nobody knows why"
                    continue
                got, lost = int(attempt["delivered"]), int(attempt["duplicates"])
                came = some[0].quantity if some[0].kind == "topup" else len(some[0].cards)
                told = f"{number} of {code} is {some[0].state} there and {attempt['state']} here"
                if attempt["state"] not in {"delivered", "late"} and not self._explained(attempt):
                    yield f"{told}, and nobody was told"
                elif attempt["state"] in {"delivered", "late"} and got + lost != came:
                    yield f"{told}: {came} pieces came, {got} are ours and {lost} were refused"
                if lost and ("purchase_duplicates", self._part(attempt)) not in self.tasks:
                    yield f"{told}, {lost} were there before, and nobody was told"
            bought = {order.ours for order in orders if order.state not in GIVEN_BACK}
            for number, attempt in self.attempts.items():
                if attempt.get("supplier") == code and int(attempt["delivered"]) and number not in bought:
                    yield f"{number} is {attempt['state']}, and was never bought at {code}"

    def _explained(self, attempt: Item) -> bool:
        """A person is called, or has found out what it cost us."""
        return self.tasks.get(("purchase_unknown", attempt["number"]), False) or int(attempt["cost_e6"]) > 0

    @staticmethod
    def _part(attempt: Item) -> str:
        return f"{attempt['order_id']}.{attempt['part']}".replace("#", "-")

    def _codes(self) -> Iterator[str]:
        """Every code that was delivered to us is one card of ours, and has one buyer at most."""
        records = inventory.cards([str(card["card_id"]) for card in self.cards])
        ours = Counter(secret.code.rpartition(" ")[2] for secret in opening.opened(records))  # some say both in one
        known = set(self.market.crowd.codes)
        theirs: Counter[str] = Counter()
        for code, orders in self.orders.items():
            for order in orders:
                if order.state not in GIVEN_BACK:
                    theirs.update(self.market.told(code, card)["code"].rpartition(" ")[2] for card in order.cards)
        yield from (f"a code is {times} cards" for times in ours.values() if times > 1)
        for code in theirs.keys() - ours.keys():
            yield f"{code} was delivered to us, and is lost"
        for code in ours.keys() - theirs.keys() - known:
            yield f"{code} came from nowhere"
        sold: Counter[str] = Counter(card_id for line in self.lines for card_id in line["card_ids"])
        yield from (f"{card_id} was sold {times} times" for card_id, times in sold.items() if times > 1)

    def _waiting(self) -> Iterator[str]:
        """Whoever paid has what he paid for, or his money; nothing is waited for."""
        got = {(line["order_id"], line["part"].partition("#")[2]): line for line in self.lines}
        for name, head in self.heads.items():
            if head["status"] not in SETTLED:
                yield f"{name} is {head['status']}"
            if "due_at" in head:
                yield f"{name} is {head['status']} and waits for {head['due_at']}"
            if head["status"] == "delivered":
                refunded = json.loads(head.get("refunded") or "{}")
                for number, state in json.loads(head["lines"]).items():
                    line = got[name, number]
                    cards = len(line["card_ids"])
                    pieces = int(line.get("got") or 0) if line.get("fulfilment") == "purchase" else cards
                    owed = int(line["unit_minor"]) * (int(line["quantity"]) - pieces)
                    if owed != int(refunded.get(number, 0)):
                        yield f"{name} line {number} is {state}: {owed} were owed, {refunded.get(number, 0)} given back"
                    if line["sku"] != TOPUP and cards != pieces:
                        yield f"{name} line {number} has {cards} cards for {pieces} pieces"
        for number, attempt in self.attempts.items():
            if attempt["state"] not in STATES and not self._explained(attempt):
                yield f"{number} is {attempt['state']} at {attempt.get('supplier')}: {attempt.get('said')}"
            if "due_at" in attempt and attempt["state"] in STATES:
                yield f"{number} of {attempt['supplier']} is {attempt['state']} and waits for {attempt['due_at']}"

    def _books(self) -> Iterator[str]:
        """The trial balance, what we owe each supplier, what buyers have paid in advance, and what the stock cost."""
        per_order: Counter[str] = Counter()
        stands: Counter[str] = Counter()
        for entry, account, minor, _, _ in self.legs:
            stands[account] += minor
            if account == "deposits":
                per_order[str(entry.get("order_id"))] += minor
        if sum(stands.values()):
            yield f"the trial balance is {sum(stands.values())}"
        for name, minor in per_order.items():
            if minor and self.heads.get(name, {}).get("status") in SETTLED:
                yield f"{minor} are still in advance for {name}, which is {self.heads[name]['status']}"
        for code, orders in self.orders.items():
            one = self.market.sellers[code]
            spent = sum(minor_from_e6(self._cost(one, order)) for order in orders)
            if stands[f"payable:{code}"] != -spent:
                yield f"we owe {code} {-stands[f'payable:{code}']} where he has had {spent}"
        kept = sum(minor_from_e6(int(card["cost_e6"])) for card in self.cards if card["state"] == "available")
        if stands["inventory"] != kept:
            yield f"the stock stands at {stands['inventory']} and cost {kept}"

    def _cost(self, one: Selling, order: Order) -> int:
        """What he has had for an order; where he does not say it, the price of his offer is believed."""
        attempt = self.attempts.get(order.ours)
        if not attempt:
            return _landed(one, order)
        untold = self.market.traits[one.code].get("order_money") == "not_told"
        return int(attempt["cost_e6"]) if untold else _landed(one, order)

    def leaks(self, said: str) -> list[str]:
        """Where a code, an account, a telephone number or a key can be read that must not be read there."""
        hidden = {*self.market.secrets, *(code.encode() for code in self.market.crowd.codes)}
        for one in self.market.sellers.values():
            hidden |= {key.encode() for key in one.stand_in.keys.values()}
            hidden |= {card.password.encode() for order in self.orders[one.code] for card in order.cards}
        hidden |= {one.replace(b"-", b"") for one in hidden}
        return [
            f"{place}: {found[:12]!r}…"
            for place, content in [*stored(self.market.crowd), ("log", said.encode())]
            for text in readings(content)
            for found in CODE.findall(text)
            if found in hidden
        ]


def goods(kind: str, number: int, sku: str, chance: Random) -> Product:
    """A product of a supplier of that kind, at a price about the fair one."""
    cost_e6 = _cents(FAIR[sku] * chance.uniform(0.97, 1.05) / (DOLLAR_E6 / 1_000_000 if kind == "reloadly" else 1.0))
    name = f"{sku} {number}"
    if kind == "reloadly":
        return Product(f"{number}:10", name, cost_e6, stock=500, more={"face": "10.00"})
    if sku == TOPUP:
        fields = [{"key": KINDS[kind].topup, "name": "QQ"}]
        return Product(str(number), name, cost_e6, kind="topup", stock=500, fields=fields)
    return Product(str(number), name, cost_e6, stock=500)


def drawn(kind: str, known: Mapping[str, Sequence[str]], chance: Random) -> tuple[dict[str, str], dict[str, str]]:
    """What he is like, and what we know of it."""
    traits = {name: chance.choice(values) for name, values in known.items() if name not in NEVER}
    terms: dict[str, str] = {}
    for trait in traits.items():
        terms |= KINDS[kind].terms.get(trait, {})
    return traits, terms


@pytest.fixture
def open_market(
    atomic_cloud: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[int], Market]]:
    monkeypatch.setenv("RISK_ORDER_MINOR", "1000000")  # nobody looks at an order because of its amount
    purchase_received._lot_of_the_day.cache_clear()
    with ExitStack() as stack:
        crowd = stack.enter_context(crowded(tmp_path))
        watch, later = Watch(monkeypatch), Later()
        stack.enter_context(later.keeping())

        def opened(seed: int) -> Market:
            chance = Random(seed)
            market = Market(crowd, watch, later, chance, {}, {})
            for place, kind in enumerate(KINDS):
                traits, terms = drawn(kind, STAND_INS[kind]().traits_known, chance)
                skus = [*chance.sample(CARDS, 2), *([TOPUP] if KINDS[kind].topup else [])]
                sold = {sku: goods(kind, number, sku, chance) for number, sku in enumerate(skus, 10 * place + 1)}
                dollars = {"currency": "USD", "rate_e6": DOLLAR_E6} if kind == "reloadly" else {}
                tier = chance.choice((Tier.A, Tier.A, Tier.B))
                code = f"{kind}{place}"
                known = {name: text.format(code=code) for name, text in terms.items()} | dollars
                one = stack.enter_context(selling(tmp_path, code, kind, sold, tier, seed=100 * seed + place, **known))
                StandIn.behave(one.url, **traits)
                if isinstance(one.stand_in, CalledBack):
                    CalledBack.call_back(one.url, f"{crowd.shop.inbox.url}/webhooks/suppliers/{one.code}")
                market.sellers[one.code], market.traits[one.code] = one, traits
            return market

        yield opened


@pytest.mark.parametrize("seed", range(SEEDS))
def test_whatever_goes_wrong_nothing_is_bought_twice_nothing_is_lost_and_the_books_say_so(
    seed: int, open_market: Callable[[int], Market], capsys: pytest.CaptureFixture[str]
) -> None:
    market = open_market(seed)
    market.shop.invoke = market.mortal
    market.stock()
    market.sync()
    while len(market.placed) < ORDERS:
        market.happen()
    market.recover()

    told = f"{dict(market.did)} {dict(market.deaths)} {dict(market.crowd.said)} {market.traits}"
    found = Audit(market).wrong()
    assert not found, "\n".join([*found, told])
    assert unread() == 0
    said = capsys.readouterr().out
    assert "DeadlineFailed" not in said
    assert Audit(market).leaks(said) == []
    assert market.deaths.total() > 0
