"""How every adapter speaks HTTP: the bytes given are the bytes sent, once; what fails says what is known of it.

Nothing of a request is in any exception: signatures and keys travel in it. No proxy, no redirect and no cookie is
followed, as what is signed for one supplier is for him alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import http.client
import io
import json
import re
import ssl
import time
import urllib.parse
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

from shared.kernel.money import MILLION, Money, minor_from_e6, parse_e6
from shared.suppliers.errors import SupplierRefused, SupplierSilent
from shared.suppliers.redaction import redacted
from shared.suppliers.supplier import Account, Answer, Keys, Outcome, Reason

TIMEOUT = 10.0  # seconds from the first byte sent to the last one read; some suppliers take as long as half of it
CONNECT = 3.0  # seconds for each address of his
ANSWER_MAX = 2**20
LIST_MAX = 2**24  # bytes of a list of products

T = TypeVar("T")


class NotSent(Exception):
    """Not a byte of it has reached him: nothing was bought."""


class NoAnswer(Exception):
    """It was sent, and what he made of it is not known."""


class Reply(NamedTuple):
    """headers: by lower-case name; of those that come twice the last."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Reply(status={self.status})"  # cards and tokens are in the rest


def call(
    method: str,
    url: str,
    body: bytes | None,
    headers: Mapping[str, str],
    timeout: float | None = None,
    answer_max: int = ANSWER_MAX,
) -> Reply:
    """One exchange; raises NotSent or NoAnswer. url: HTTPS, or plain HTTP to 127.0.0.1. timeout: `TIMEOUT` if None."""
    connection, target = _connection(url)
    with contextlib.ExitStack() as after:
        try:
            connection.connect()
            after.callback(connection.sock.close)
            connection.putrequest(method, target)
            for name, value in headers.items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
        except (OSError, http.client.HTTPException, ValueError):
            raise NotSent from None
        try:
            connection.sock = _Bounded(connection.sock, TIMEOUT if timeout is None else timeout)
            connection.endheaders(body)
            response = connection.getresponse()
            got = response.read(answer_max + 1)
            if len(got) > answer_max or response.length:  # more than we take, or less than he said
                raise NoAnswer
            return Reply(response.status, got, {name.lower(): value for name, value in response.getheaders()})
        except (OSError, http.client.HTTPException, ValueError):
            raise NoAnswer from None


# --- what a reply makes of an order ----------------------------------------------------------------------------------

UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, IndexError, ArithmeticError, RecursionError)
"""What reading an answer may raise that is not in the documented form."""


def placed(exchange: Callable[[], Reply], read: Callable[[Reply], Answer], hide: Iterable[str] = ()) -> Answer:
    """What became of an order that is placed by an exchange; never raises.

    read: makes an answer of a reply, whose status is 2xx or 4xx; what it raises of `UNREADABLE` is UNKNOWN, with reason
    NOT_ALLOWED where the page is one that lets nobody in. hide: what a buyer has typed, which he may repeat.
    """
    try:
        reply = exchange()
    except NotSent:
        return Answer(Outcome.RETRY, Reason.NOT_SENT)
    except NoAnswer:
        return Answer(Outcome.UNKNOWN, Reason.SILENT)
    said = redacted(reply.body, hide)
    if reply.status == 429:
        return Answer(Outcome.RETRY, Reason.BUSY, said=said)
    if reply.status >= 500:
        return Answer(Outcome.UNKNOWN, Reason.SILENT, said=said)
    try:
        if not (200 <= reply.status < 300 or reply.status >= 400):
            raise ValueError
        return dataclasses.replace(read(reply), said=said)
    except UNREADABLE:
        # Not his own words: what stands before his shop may have let the order in, and disliked what it answered.
        reason = Reason.NOT_ALLOWED if reply.status in (401, 403) else Reason.UNREADABLE
        return Answer(Outcome.UNKNOWN, reason, said=said)


def order_known(upstream_no: str, read: Callable[[], Answer]) -> Answer:
    """What is read of an order whose number we have; what cannot be read of it is UNKNOWN, and the number is kept."""
    try:
        return read()
    except UNREADABLE:
        return Answer(Outcome.UNKNOWN, Reason.UNREADABLE, upstream_no)


def asked(exchange: Callable[[], Reply], read: Callable[[Reply], Answer]) -> Answer:
    """The same of a question about an order: that the question did not get through says nothing of the order."""
    answer = placed(exchange, read)
    return dataclasses.replace(answer, outcome=Outcome.UNKNOWN) if answer.outcome is Outcome.RETRY else answer


def told(supplier: str, exchange: Callable[[], Reply], read: Callable[[Reply], T]) -> T:
    """What a supplier says when nothing is bought; raises SupplierSilent, or SupplierRefused, which `read` may too."""
    try:
        reply = exchange()
    except (NotSent, NoAnswer):
        raise SupplierSilent(supplier=supplier) from None
    if reply.status == 429 or reply.status >= 500:
        raise SupplierSilent(supplier=supplier)
    try:
        return read(reply)
    except UNREADABLE:
        if reply.status in (401, 403):
            raise SupplierRefused(supplier=supplier, reason=Reason.NOT_ALLOWED) from None
        raise SupplierSilent(supplier=supplier) from None


def or_none(read: Callable[[], T]) -> T | None:
    """What is read of one product; None where he says that he sells no such thing."""
    try:
        return read()
    except SupplierRefused as refused:
        if refused.facts["reason"] == Reason.OFF_SHELF:
            return None
        raise


# --- reading ---------------------------------------------------------------------------------------------------------

_AMOUNT = re.compile(r"[0-9]{1,9}(\.[0-9]{1,12})?")
_DIGITS = re.compile(r"[0-9]{1,18}")
_WHOLE = re.compile(r"-?[0-9]{1,15}")


def json_object(raw: bytes | str) -> dict[str, Any]:
    """The JSON object of a text, its fractions as Decimal; anything else is a ValueError."""
    try:
        text = raw.decode("utf-8-sig") if isinstance(raw, bytes) else raw
        found = json.loads(text, parse_float=Decimal, parse_constant=_none_such, object_pairs_hook=_once)
        if "\\ud" in text.lower():  # half a character: no store takes it
            json.dumps(found, ensure_ascii=False, default=str).encode()
    except RecursionError:
        raise ValueError("too deep") from None
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found


def text(value: object, most: int = 128) -> str:
    """A short text, such as a number of an order, which some write as a number; anything else is a ValueError."""
    if type(value) not in (str, int):
        raise ValueError("not a text")
    found = str(value).strip()
    if not found or len(found) > most or not found.isprintable():
        raise ValueError("not a short text")
    return found


def is_number(value: str) -> bool:
    """Whether it is digits alone, as the ids of many suppliers are."""
    return bool(_DIGITS.fullmatch(value))


def whole(value: object) -> int:
    """An integer, which some write as a text; anything else is a ValueError."""
    if type(value) is int and abs(value) < 10**15:
        return value
    if type(value) is str and _WHOLE.fullmatch(value):
        return int(value)
    raise ValueError("not an integer")


def e6(value: object) -> int:
    """Millionths of a decimal such as "9.90", 9.9 or 9, exactly; what is negative or finer is a ValueError."""
    if type(value) not in (str, int, Decimal) or not _AMOUNT.fullmatch(str(value)):
        raise ValueError("not an amount")
    return parse_e6(str(value))


def cost_e6(value: object) -> int | None:
    """What an order costs; None where that is not said, or cannot be read: nobody's goods are worth less for it."""
    try:
        return e6(value)
    except ValueError:
        return None


def balance(value: object, currency: str) -> Money:
    """What we have left with him; below zero where we owe it."""
    owed = str(value).startswith("-")
    amount_e6 = e6(str(value)[1:] if owed else value)
    return Money(minor_from_e6(-amount_e6 if owed else amount_e6), currency)


def form(raw: bytes, most: int) -> dict[str, str]:
    """The fields of a form that he has sent; ValueError where it is longer, is none, or a name comes twice."""
    if len(raw) > most:
        raise ValueError("too long")
    return _once(
        urllib.parse.parse_qsl(
            raw.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=1000, errors="strict"
        )
    )


def decimal(amount_e6: int, places: int = 6) -> str:
    """An amount in millionths as a decimal of two places or more, rounded down: a ceiling is never raised."""
    fraction = f"{amount_e6 % MILLION:06d}"[:places]
    return f"{amount_e6 // MILLION}.{fraction[:2]}{fraction[2:].rstrip('0')}"


def readable(items: Iterable[Any], read: Callable[[Any], Iterable[T]]) -> list[T]:
    """What is read of a list, without what is not in the documented form: one odd product must not hide the others."""
    found: list[T] = []
    for item in items:
        with contextlib.suppress(*UNREADABLE):
            found += list(read(item))
    return found


def fit(account: Account, keys: Sequence[Keys], terms: Iterable[str], secrets: Iterable[str]) -> None:
    """Raise ValueError where a term or a secret of the newest keys is missing, or a site is none that we speak to."""
    missing = [name for name in terms if not account.terms.get(name)]
    missing += [name for name in secrets if not keys or not keys[0].get(name)]
    if missing:
        raise ValueError(f"supplier {account.code} needs {', '.join(missing)}")
    for name, site in account.terms.items():
        if name in ("site", "auth_site") and site and _target(site) is None:
            raise ValueError(f"the {name} of supplier {account.code} must be an https address")


# --- inside ----------------------------------------------------------------------------------------------------------


class _Bounded:
    """A connected socket whose whole exchange ends at one deadline, however slowly the other side drips."""

    def __init__(self, sock: Any, seconds: float) -> None:
        self._sock, self._ends = sock, time.monotonic() + seconds

    def sendall(self, data: bytes) -> None:
        self._hurry()
        self._sock.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Arriving(self._receive))

    def close(self) -> None:
        """Not yet: http.client calls this before the body is read."""

    def _receive(self, room: memoryview) -> int:
        self._hurry()
        return int(self._sock.recv_into(room))

    def _hurry(self) -> None:
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)


class _Arriving(io.RawIOBase):
    def __init__(self, receive: Callable[[memoryview], int]) -> None:
        self._receive = receive

    def readable(self) -> bool:
        return True

    def readinto(self, room: Any) -> int:
        return self._receive(room)


def _connection(url: str) -> tuple[http.client.HTTPConnection, str]:
    target = _target(url)
    if target is None:
        raise NotSent
    secure, host, port, path = target
    if secure:
        return http.client.HTTPSConnection(host, port, timeout=CONNECT, context=_trust()), path
    return http.client.HTTPConnection(host, port, timeout=CONNECT), path


def _target(url: str) -> tuple[bool, str, int | None, str] | None:
    """Whether it is secure, host, port and path of an address; None of one that we do not speak to."""
    try:
        address = urllib.parse.urlsplit(url)
        host, port = address.hostname, address.port
    except ValueError:
        return None
    plain = address.scheme == "http" and host == "127.0.0.1"
    if not host or not (plain or address.scheme == "https") or address.username is not None or address.fragment:
        return None
    return not plain, host, port, (address.path or "/") + (f"?{address.query}" if address.query else "")


@functools.cache
def _trust() -> ssl.SSLContext:
    return ssl.create_default_context()  # reading the roots takes longer than most exchanges


def _once(pairs: list[tuple[str, T]]) -> dict[str, T]:
    found = dict(pairs)
    if len(found) != len(pairs):  # the one that signs may have read the other one
        raise ValueError("a name comes twice")
    return found


def _none_such(_name: str) -> None:
    raise ValueError("not a number")
