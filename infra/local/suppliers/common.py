"""A supplier as one object: the door, the faults, the traits, and what a campaign may do to it and read from it."""

from __future__ import annotations

import argparse
import hashlib
import json
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlencode

from infra.local.counterparts import Counterpart, Letter, RefusedError, Reply, Request, json_reply
from infra.local.counterparts.counterpart import serve, write_private
from infra.local.counterparts.faults import Fault
from infra.local.suppliers import ledger
from infra.local.suppliers.ledger import Ledger, No, Order, Product, Wanted

__all__ = ["BUY", "COMMON_TRAITS", "Fault", "No", "Order", "Product", "Supplier", "Wanted", "amount", "routes"]

BALANCE_E6 = 1_000_000 * 1_000_000
RETRY_AFTER_SECONDS = (1, 3, 10)
TOLD_FIRST_SECONDS_MAX = 5

# The first of each is the default: what the documents say, or else what is harder for a buyer. Each supplier says
# which of these it plays and may give another order.
COMMON_TRAITS: dict[str, tuple[str, ...]] = {
    # A second order with a number that was there before.
    "repeat": ("buys", "replays", "refuses"),
    # Whether what is in stock is there with the answer, or not before the first ask.
    "delivery": ("at_once", "first_ask"),
    # Whether a delivery of a part gives back the money for the rest.
    "half_money": ("kept", "given_back"),
}

_BEFORE = (  # nothing was done
    "before_silent",  # hung up
    "before_slow",  # a pause before it is done
    "before_500",
    "before_429",
    "before_moved",  # a redirect to another address
    "refuse_signature",
    "refuse_address",
)
_AFTER = ("silent", "slow", "500", "403", "garbage", "cut_short")  # it was done
BUY = (
    "late",
    "late_asks",
    "fails_late",
    "half",
    "dearer",
    "same_code",
    "callback_first",
)
_CALLBACK = ("none", "twice", "reordered", "forged", "stale")
_NOTIFY = ("slow", "silent", "wrong_signature", "stale_timestamp", "garbage")
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def routes(*names: str, also: tuple[str, ...] = (), **more: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """The fault kinds of a supplier: the usual on each of its routes, `also` on each, and more on the named ones."""
    usual = _BEFORE + _AFTER + also
    return {name: usual + more.get(name, ()) for name in names} | {"callback": _CALLBACK, "notify": _NOTIFY}


def amount(e6: int) -> str:
    """Decimal text with two places, or with as many as it takes."""
    whole, rest = divmod(abs(e6), 1_000_000)
    return f"{'-' if e6 < 0 else ''}{whole}.{f'{rest:06d}'.rstrip('0').ljust(2, '0')}"


class Supplier(Counterpart):
    """A supplier on 127.0.0.1. `<state>.supplier.json` (mode 600) holds {"terms", "keys"} for the shop's owner.

    A supplier gives `find`, `refusal`, `notice`, `terms`, `keys`, `words`, and whatever of the rest is its own. Beside
    its addresses there are those under /_/, which the static methods below call.
    """

    kind: ClassVar[str]
    label: ClassVar[str]
    usual_port: ClassVar[int]
    traits_known: ClassVar[Mapping[str, tuple[str, ...]]] = COMMON_TRAITS
    # Its own words for ledger.REASONS, `signature` and `address`: status, code, message.
    words: ClassVar[Mapping[str, tuple[int, str, str]]]
    schema = ledger.SCHEMA
    fault_seconds: ClassVar[Mapping[str, float]] = {"late": 2, "unknown": 2, "fails_late": 2, "late_asks": 3}

    def __init__(
        self,
        state: Path,
        port: int = 0,
        seed: int = 1,
        retry_after: Sequence[float] = RETRY_AFTER_SECONDS,
        answer_within: float = 5,
        balance_e6: int = BALANCE_E6,
    ) -> None:
        super().__init__(state, port, retry_after, answer_within)
        self.seed = seed
        self.traits = {name: values[0] for name, values in self.traits_known.items()}
        self.ledger = Ledger(self.store, self.traits, seed, self.number, balance_e6, self._callback_fault)
        self._down_until = 0.0
        write_private(state.with_name(state.name + ".supplier.json"), {"terms": self.terms, "keys": self.keys})

    # -- what a supplier gives -------------------------------------------------------------------------------------

    @property
    def terms(self) -> dict[str, str]:
        raise NotImplementedError

    @property
    def keys(self) -> dict[str, str]:
        raise NotImplementedError

    def find(self, request: Request) -> tuple[str, Callable[[Fault | None], Reply]]:
        """The route, and what does it; that checks signature and body, and raises No or RefusedError.

        fault: the armed fault, for `ledger.buy` and for what is the supplier's own.
        """
        raise NotImplementedError

    def refusal(self, refused: RefusedError) -> Reply:
        """A refusal in the supplier's own shape."""
        raise NotImplementedError

    def seal(self, reply: Reply, how: str) -> Reply:
        """Sign the answer. how: "" or `wrong_signature`. Most suppliers do not sign."""
        return reply

    def notice(self, order: Order, state: str, how: str) -> tuple[dict[str, str], bytes]:
        """Headers and body of the notification that says `state` of the order, signed now as `how` tells."""
        raise NotImplementedError

    def accepts(self, status: int, body: bytes) -> bool:
        raise NotImplementedError

    def number(self, serial: int, now: float) -> str:
        """The supplier's number of its order; unique."""
        return f"{self.kind[:2].upper()}{int(now)}{serial:06d}"

    def secret(self, name: str, length: int) -> str:
        """Letters and figures that belong to this seed and name."""
        return hashlib.sha512(f"{self.kind}:{self.seed}:{name}".encode()).hexdigest()[:length]

    def no(self, reason: str) -> RefusedError:
        """The refusal in the supplier's own words."""
        return RefusedError(*self.words[reason])

    # -- the door --------------------------------------------------------------------------------------------------

    def answer(self, request: Request) -> Reply | None:
        if request.path.startswith("/_/"):
            return self._manage(request)
        if time.time() < self._down_until:
            return None
        try:
            route, do = self.find(request)
        except RefusedError as refused:
            return self.refusal(refused)
        fault = self.faults.take(route)
        reply = self._suffered(fault, do)
        return reply and self._spoilt(fault, reply)

    def _suffered(self, fault: Fault | None, do: Callable[[Fault | None], Reply]) -> Reply | None:
        """What happens before the deed, and the deed."""
        match fault.kind if fault else "":
            case "before_silent":
                return None
            case "before_slow":
                self.wait(fault.seconds if fault else 0)
            case "before_500":
                return Reply(500, b"<html>Internal Server Error</html>", "text/html")
            case "before_429":
                return self.refusal(RefusedError(429, "too_many_requests", "请求过于频繁"))
            case "before_moved":
                return Reply(302, headers={"Location": f"{self.url}/moved"})
            case "refuse_signature" | "refuse_address" as kind:
                return self.refusal(self.no(kind.removeprefix("refuse_")))
        try:
            return do(fault)
        except No as no:
            return self.refusal(self.no(no.reason))
        except RefusedError as refused:
            return self.refusal(refused)
        finally:
            self.wake()

    def _spoilt(self, fault: Fault | None, reply: Reply) -> Reply | None:
        """What happens to the answer on its way."""
        reply = self.seal(reply, "wrong_signature" if fault and fault.kind == "wrong_signature" else "")
        match fault.kind if fault else "":
            case "silent":
                return None
            case "slow":
                self.wait(fault.seconds if fault else 0)
            case "500":
                return Reply(500, b"<html>Internal Server Error</html>", "text/html")
            case "403":  # of what stands before his shop, and dislikes his answer
                return Reply(403, b"<html>Forbidden</html>", "text/html")
            case "garbage":
                return Reply(200, b"<html><body>OK</body></html>", "text/html")
            case "cut_short":
                reply.body = reply.body[: len(reply.body) // 2]
        return reply

    def buy(self, wanted: Wanted, fault: Fault | None) -> Order:
        """As `ledger.buy`; with the fault `callback_first`, the notification is tried before this returns."""
        order = self.ledger.buy(wanted, fault)
        if fault and fault.kind == "callback_first" and order.notify_url:
            self.wake()
            until = time.monotonic() + TOLD_FIRST_SECONDS_MAX
            while time.monotonic() < until and not any(told["tries"] for told in self.letters.told(order.order_no)):
                self.wait(0.005)
        return order

    def dress(self, letter: Letter, how: str) -> tuple[dict[str, str], bytes]:
        about = json.loads(letter.content)
        (order,) = self.ledger.ask(order_no=about["order_no"], silently=True)
        headers, body = self.notice(order, about["says"] or order.state, how)
        return headers, b"<xml/>" if how == "garbage" else body

    def _callback_fault(self) -> str:
        fault = self.faults.take("callback")
        return fault.kind if fault else ""

    # -- management ------------------------------------------------------------------------------------------------

    def _manage(self, request: Request) -> Reply:
        try:
            wanted = json.loads(request.body or b"{}")
            told = self._managed(request.method, request.path.removeprefix("/_/"), wanted, request.query)
        except No as no:
            raise RefusedError(404, no.reason) from None
        except (ValueError, TypeError, KeyError) as odd:
            raise RefusedError(400, "BAD_REQUEST", str(odd)) from None
        self.wake()
        return json_reply(200, told)

    def _managed(self, method: str, what: str, wanted: dict[str, Any], query: Mapping[str, str]) -> dict[str, Any]:
        books = self.ledger
        match method, what:
            case "GET", "orders":
                found = books.orders(ours=query.get("ours", ""), state=query.get("state", ""))
                return {"orders": [_plain(one) for one in found]}
            case "GET", "twice":
                return {"numbers": books.bought_twice()}
            case "GET", "products":
                return {"products": [asdict(one) for one in books.products()]}
            case "GET", "account":
                return {"balance_e6": books.balance_e6(), "terms": self.terms, "keys": self.keys}
            case "POST", "products":
                books.put_products([Product(**one) for one in wanted["products"]], instead=bool(wanted["instead"]))
            case "POST", "change":
                return {"product": asdict(books.change_product(**wanted))}
            case "POST", "account":
                books.set_balance(int(wanted["balance_e6"]))
            case "POST", "end":
                return {"order": _plain(books.end(wanted["order_no"], wanted["outcome"], bool(wanted["told"])))}
            case "POST", "void":
                return {"order": _plain(books.void(wanted["order_no"], refund=bool(wanted["refund"])))}
            case "POST", "tell":
                books.tell(wanted["order_no"], wanted["says"], wanted["how"])
            case "POST", "down":
                self._down_until = time.time() + float(wanted["seconds"])
            case "POST", "traits":
                for name, value in wanted.items():
                    if value not in self.traits_known.get(name, ()):
                        raise ValueError(f"traits are {dict(self.traits_known)}")
                self.traits.update(wanted)
                return self.traits
            case _:
                raise RefusedError(404, "NOT_FOUND")
        return {}

    # -- over HTTP, at any running supplier ------------------------------------------------------------------------

    @staticmethod
    def put_products(url: str, products: Sequence[Product], *, instead: bool = False) -> None:
        """Add products or replace those of the same sku; instead: of all that were there."""
        _call(f"{url}/_/products", {"products": [asdict(one) for one in products], "instead": instead})

    @staticmethod
    def change_product(url: str, sku: str, **values: Any) -> dict[str, Any]:
        """Set any of Product's fields: cost_e6, stock (None = endless), shown (None = honest), on_sale, ..."""
        return dict(_call(f"{url}/_/change", {"sku": sku, **values})["product"])

    @staticmethod
    def products(url: str) -> list[dict[str, Any]]:
        return list(_call(f"{url}/_/products")["products"])

    @staticmethod
    def balance_e6(url: str) -> int:
        return int(_call(f"{url}/_/account")["balance_e6"])

    @staticmethod
    def set_balance(url: str, balance_e6: int) -> None:
        _call(f"{url}/_/account", {"balance_e6": balance_e6})

    @staticmethod
    def orders(url: str, ours: str = "", state: str = "") -> list[dict[str, Any]]:
        """Every order, oldest first, with its cards; or those of our number, or in that state."""
        return list(_call(f"{url}/_/orders?{urlencode({'ours': ours, 'state': state})}")["orders"])

    @staticmethod
    def bought(url: str, ours: str) -> list[dict[str, Any]]:
        """What was really bought under our number: its orders of which the money was not given back."""
        return [one for one in Supplier.orders(url, ours) if one["state"] not in ledger.GIVEN_BACK]

    @staticmethod
    def bought_twice(url: str) -> list[str]:
        """Our numbers under which more than one order holds our money; a campaign wants this to be empty."""
        return list(_call(f"{url}/_/twice")["numbers"])

    @staticmethod
    def end(url: str, order_no: str, outcome: str = ledger.DELIVERED, *, told: bool = True) -> dict[str, Any]:
        """End an open order: delivered, failed, canceled, half or same_code; told: with its notification."""
        return dict(_call(f"{url}/_/end", {"order_no": order_no, "outcome": outcome, "told": told})["order"])

    @staticmethod
    def void(url: str, order_no: str, *, refund: bool = False) -> list[str]:
        """The issuer voids an order's cards; returns their passwords, as its notice would name them."""
        order = _call(f"{url}/_/void", {"order_no": order_no, "refund": refund})["order"]
        return [card["password"] for card in order["cards"]]

    @staticmethod
    def tell(url: str, order_no: str, says: str = "", how: str = "") -> None:
        """Send a notification now. says: the state it claims (any of ledger's). how: one of the faults of `notify`."""
        _call(f"{url}/_/tell", {"order_no": order_no, "says": says, "how": how})

    @staticmethod
    def go_down(url: str, seconds: float) -> None:
        """Hang up on everybody for that long; 0 ends it."""
        _call(f"{url}/_/down", {"seconds": seconds})

    @staticmethod
    def behave(url: str, **traits: str) -> dict[str, str]:
        """Set traits, until the next start; returns all as they are now."""
        return _call(f"{url}/_/traits", traits)


def _plain(order: Order) -> dict[str, Any]:
    """As `asdict`, which is slow for thousands."""
    return vars(order) | {"cards": [vars(card) for card in order.cards], "total_e6": order.total_e6}


def _call(url: str, content: Any = None) -> dict[str, Any]:
    body = None if content is None else json.dumps(content).encode()
    with _open(urllib.request.Request(url, body, {"Content-Type": "application/json"}), timeout=60) as reply:
        told: dict[str, Any] = json.load(reply)
        return told


def main(kinds: Mapping[str, Callable[[], type[Supplier]]], argv: Sequence[str] | None = None) -> int:
    """The command: run one supplier of `kinds` until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--kind", choices=sorted(kinds), required=True)
    parser.add_argument("--seed", type=int, default=1, help="what its codes and keys are made from")
    wanted, rest = parser.parse_known_args(argv)
    make = kinds[wanted.kind]()
    return serve(
        rest, f"{make.label} simulator", make.usual_port, lambda state, port: make(state, port, seed=wanted.seed)
    )
