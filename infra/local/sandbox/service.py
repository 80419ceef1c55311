"""The provider's HTTP doors: the pay page, the merchant's API, faults and health."""

from __future__ import annotations

import json
import logging
import secrets
import socket
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from infra.local.sandbox import pages
from infra.local.sandbox.book import OUTCOMES, Bill, Book, Refund, TermsError
from infra.local.sandbox.courier import Courier
from infra.local.sandbox.faults import Fault, Faults
from infra.local.sandbox.signing import Signer, stamped

logger = logging.getLogger("sandbox")

BODY_BYTES_MAX = 64 * 1024
DELAY_SECONDS_MAX = 86_400
IDLE_SECONDS_MAX = 60
AMOUNT_MINOR_MAX = 10**12


@dataclass
class Reply:
    status: int
    body: bytes
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


class RefusedError(Exception):
    """The request is answered with this status and word, and nothing was done."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status = status
        self.error = error


class Service(ThreadingHTTPServer):
    """The listening socket and what its doors share."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, port: int, merchant: str, signer: Signer, book: Book, courier: Courier, faults: Faults) -> None:
        self.merchant = merchant
        self.signer = signer
        self.book = book
        self.courier = courier
        self.faults = faults
        self.stopping = threading.Event()
        super().__init__(("127.0.0.1", port), Door)

    def handle_error(self, *_: Any) -> None:
        logger.debug("connection lost", exc_info=True)


class Door(BaseHTTPRequestHandler):
    server: Service
    server_version = "sandbox"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS_MAX
    wbufsize = -1  # head and body leave in one packet
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        began = time.perf_counter()
        path = urlsplit(self.path).path
        try:
            body = self._body()
            if path == "/pay":
                reply: Reply | None = self._pay(body)
            elif path == "/" and self.command == "GET":
                reply = self._front()
            elif path.startswith("/api/"):
                reply = self._api(path, body)
            elif path == "/faults" and self.command == "POST":
                reply = self._faults(body)
            elif path == "/health" and self.command == "GET":
                reply = _json(200, {"ok": True})
            else:
                raise RefusedError(404, "not_found")
        except RefusedError as refused:
            reply = _json(refused.status, {"error": refused.error})
        except Exception:
            logger.exception("%s %s failed", self.command, path)
            reply = _json(500, {"error": "internal"})
        if reply is None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self._send(reply)
        # The path only: the query of a pay link holds its signature.
        spent_ms = (time.perf_counter() - began) * 1000
        logger.info("%s %s %s %.0f ms", self.command, path, reply.status if reply else "dropped", spent_ms)

    def _body(self) -> bytes:
        """All of the body, so that the next request on this connection begins where it should."""
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdigit()):
            self.close_connection = True
            raise RefusedError(411, "length_required")
        if int(length) > BODY_BYTES_MAX:
            self.close_connection = True
            raise RefusedError(413, "too_large")
        return self.rfile.read(int(length))

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(reply.body)

    def log_request(self, *_: Any) -> None:
        """Replaced by the line that `_answer` writes: the standard one shows whole URLs."""

    def log_message(self, *_: Any) -> None:
        """Dropped, as it may quote a request line."""

    # -- pay page --------------------------------------------------------------------------------------------------

    def _front(self) -> Reply:
        nonce = secrets.token_urlsafe(12)
        return _html(200, pages.front_page(_language(self.headers.get("Accept-Language", "")), nonce), nonce)

    def _pay(self, body: bytes) -> Reply:
        form = dict(parse_qsl(body.decode("utf-8", "replace"))) if self.command == "POST" else {}
        lang = form.get("lang") or _language(self.headers.get("Accept-Language", ""))
        lang = lang if lang in ("zh", "en") else "zh"
        nonce = secrets.token_urlsafe(12)
        as_json = self.command == "POST" and "application/json" in self.headers.get("Accept", "")
        try:
            return self._show_or_press(form, lang, nonce, as_json)
        except RefusedError as refused:
            if as_json:
                raise
            return _html(refused.status, pages.refusal_page(refused.error, lang, nonce), nonce)

    def _show_or_press(self, form: dict[str, str], lang: str, nonce: str, as_json: bool) -> Reply:
        bill = self._bill()
        now = time.time()
        book = self.server.book
        if self.command == "GET":
            return _html(200, pages.pay_page(bill, book.charges(bill.payment_id), now, lang, nonce), nonce)

        outcome, delay = form.get("outcome", ""), form.get("delay_seconds") or "5"
        if outcome not in OUTCOMES or not (delay.isascii() and delay.isdigit() and len(delay) <= 5):
            raise RefusedError(400, "bad_outcome")
        if int(delay) > DELAY_SECONDS_MAX:
            raise RefusedError(400, "bad_outcome")
        try:
            pressed = book.press(bill, outcome, now, int(delay))
        except TermsError:
            raise RefusedError(409, "conflict") from None
        self.server.courier.wake()
        if as_json:
            return _json(
                200,
                {
                    "outcome": outcome,
                    "charges": list(pressed.charges),
                    "already_charged": pressed.already_charged,
                },
            )
        charges = book.charges(bill.payment_id)
        return _html(200, pages.result_page(bill, pressed, charges, now, self.path, lang, nonce), nonce)

    def _bill(self) -> Bill:
        """The bill that the merchant signed, or RefusedError."""
        pairs = parse_qsl(urlsplit(self.path).query, keep_blank_values=True)
        fields = dict(pairs)
        if (
            len(fields) != len(pairs)
            or fields.get("merchant") != self.server.merchant
            or not self.server.signer.link_holds(fields)
        ):
            raise RefusedError(403, "bad_signature")
        try:
            amount_minor = int(fields["amount_minor"])
            expires_at = fields.get("expires_at")
            bill = Bill(
                merchant=fields["merchant"],
                payment_id=fields["payment_id"],
                amount_minor=amount_minor,
                currency=fields["currency"],
                subject=fields.get("subject", ""),
                notify_url=fields["notify_url"],
                return_url=fields.get("return_url", ""),
                expires_at=datetime.fromisoformat(expires_at) if expires_at else None,
            )
        except (KeyError, ValueError):
            raise RefusedError(400, "bad_link") from None
        sound = (
            bill.payment_id
            and 0 < bill.amount_minor <= AMOUNT_MINOR_MAX
            and len(bill.currency) == 3
            and _is_web_address(bill.notify_url)
            and (not bill.return_url or _is_web_address(bill.return_url))
            and (bill.expires_at is None or bill.expires_at.tzinfo is not None)
        )
        if not sound:
            raise RefusedError(400, "bad_link")
        return bill

    # -- merchant's API --------------------------------------------------------------------------------------------

    def _api(self, path: str, body: bytes) -> Reply | None:
        """The signed answer; None if a fault swallows it after the work is done."""
        fault: Fault | None = None
        try:
            self._check_signature(path, body)
            parts = [unquote(part) for part in path.split("/")[2:]]
            if self.command == "GET" and len(parts) == 2 and parts[0] == "payments":
                fault = self.server.faults.take("payments", reading=True)
                reply = _json(200, self.server.book.payment(parts[1], time.time()))
            elif self.command == "GET" and len(parts) == 2 and parts[0] == "refunds":
                fault = self.server.faults.take("refunds", reading=True)
                reply = _json(200, self.server.book.refund_view(parts[1], time.time()))
            elif self.command == "POST" and parts == ["refunds"]:
                wanted = _wanted_refund(body)
                fault = self.server.faults.take("refunds")
                settles_after = fault.seconds if fault and fault.kind == "processing" else 0
                reply = _json(200, self.server.book.refund(wanted, time.time(), settles_after))
            else:
                raise RefusedError(404, "not_found")
        except RefusedError as refused:
            reply = _json(refused.status, {"error": refused.error})
        except TermsError:
            reply = _json(409, {"error": "conflict"})
        return self._signed(reply, fault)

    def _check_signature(self, path: str, body: bytes) -> None:
        """The path is signed as it was sent, without its query."""
        held = self.server.signer.request_holds(
            self.command,
            path,
            body,
            self.headers.get("Sandbox-Timestamp", ""),
            self.headers.get("Sandbox-Signature", ""),
            time.time(),
        )
        if not held or self.headers.get("Sandbox-Merchant") != self.server.merchant:
            raise RefusedError(401, "bad_signature")

    def _signed(self, reply: Reply, fault: Fault | None) -> Reply | None:
        kind = fault.kind if fault else None
        if kind == "drop_reply":
            return None
        if kind == "status_500":
            reply = _json(500, {"error": "internal"})
        if fault and kind == "slow":
            self.server.stopping.wait(fault.seconds)
        stamp = str(int(time.time()))
        sign = self.server.signer.forge if kind == "bad_signature" else self.server.signer.sign
        reply.headers |= {"Sandbox-Timestamp": stamp, "Sandbox-Signature": sign(stamped(stamp, reply.body))}
        return reply

    # -- faults ----------------------------------------------------------------------------------------------------

    def _faults(self, body: bytes) -> Reply:
        wanted = _object(body)
        try:
            armed = self.server.faults.arm(wanted)
        except ValueError:
            raise RefusedError(400, "bad_request") from None
        return _json(200, {"route": wanted["route"], "armed": armed})


def _object(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body)
    except ValueError:
        raise RefusedError(400, "bad_request") from None
    if not isinstance(given, dict):
        raise RefusedError(400, "bad_request")
    return given


def _wanted_refund(body: bytes) -> Refund:
    given = _object(body)
    words = [given.get(name, "") for name in ("refund_id", "provider_no", "currency", "reason")]
    minor = given.get("amount_minor")
    if not all(isinstance(word, str) for word in words) or not all(words[:3]):
        raise RefusedError(400, "bad_request")
    if type(minor) is not int or not 0 < minor <= AMOUNT_MINOR_MAX:
        raise RefusedError(400, "bad_request")
    refund_id, provider_no, currency, reason = words
    return Refund(refund_id, provider_no, minor, currency, reason)


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def _language(accepted: str) -> str:
    """English only for a browser that names it before Chinese."""
    for tag in accepted.lower().split(","):
        if tag.strip()[:2] in ("zh", "en"):
            return tag.strip()[:2]
    return "zh"


def _json(status: int, content: dict[str, Any]) -> Reply:
    return Reply(status, json.dumps(content, ensure_ascii=False).encode())


def _html(status: int, page: bytes, nonce: str) -> Reply:
    policy = f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; img-src data:"
    return Reply(
        status,
        page,
        "text/html; charset=utf-8",
        {
            "Content-Security-Policy": policy + "; base-uri 'none'; frame-ancestors 'none'",
            # The address holds a signature, which the shop's page need not see.
            "Referrer-Policy": "no-referrer",
        },
    )
