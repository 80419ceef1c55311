"""Alipay's OpenAPI v2 gateway and its pay pages as one object, for tests, and as one command, for `make run`."""

from __future__ import annotations

import itertools
import json
import secrets
import time
import urllib.request
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import urlencode, urlsplit

from infra.local.alipay import pages
from infra.local.alipay.book import OUTCOMES, SCHEMA, Book, BusinessError, Notices, Pressed, beijing, yuan
from infra.local.alipay.methods import Call, Content, Methods
from infra.local.alipay.protocol import METHODS, PAGES, ProtocolError, check, request_fields, wanted
from infra.local.alipay.signing import Identity, canonical
from infra.local.alipay.traits import TRAITS, checked
from infra.local.counterparts import Counterpart, Letter, RefusedError, Reply, Request, html_reply, json_reply
from infra.local.counterparts.counterpart import serve, write_private
from infra.local.sandbox.faults import Fault

RETRY_AFTER_SECONDS = (1, 3, 10, 30)  # Alipay's own: 4 min, 10 min, 10 min, 1 h, 2 h, 6 h, 15 h
DELAY_SECONDS_MAX = 86_400
_API_FAULTS = (
    "silent",  # done, and hung up without an answer
    "silent_before",  # nothing done, and hung up
    "slow",  # done, answered after `seconds`
    "500",  # done
    "wrong_signature",
    "unsigned",
    "garbage",
    "system_error",  # done, and answered 40004 ACQ.SYSTEM_ERROR
    "unavailable",  # nothing done, and answered 20000
)
_PAGE_FAULTS = ("silent_before", "slow", "500")
_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


class AlipayGateway(Counterpart):
    """One merchant's Alipay. `<state>.merchant.json` tells whoever sets the merchant up what they must know.

    GET and POST /traits shows and sets how uncertain points are played (traits.py says which).
    """

    schema: ClassVar[str] = SCHEMA
    fault_kinds: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **{route: _PAGE_FAULTS if route in PAGES else _API_FAULTS for route in METHODS.values()},
        "download": ("silent_before", "slow", "500", "garbage", "expired"),
        "notify": ("slow", "silent", "wrong_signature", "unsigned", "sha1"),
    }

    def __init__(
        self,
        state: Path,
        port: int = 0,
        retry_after: Sequence[float] = RETRY_AFTER_SECONDS,
        answer_within: float = 5,
    ) -> None:
        self._identity = Identity.at(Path(f"{state}.keys.json"))
        super().__init__(state, port, retry_after, answer_within)
        self._book = Book(self.store, Notices(self._identity.app_id, self._identity.seller_id))
        self._methods = Methods(self._book, self._identity, lambda: self.url)
        self._answers = itertools.count()

    @property
    def terms(self) -> dict[str, str]:
        return {
            "app_id": self._identity.app_id,
            "seller_id": self._identity.seller_id,
            "gateway": f"{self.url}/gateway.do",
        }

    @property
    def keys(self) -> dict[str, str]:
        return self._identity.keys

    def start(self) -> Self:
        # Anew each time: the port may be another one.
        write_private(Path(f"{self.state}.merchant.json"), {"terms": self.terms, "keys": self.keys})
        return super().start()

    @staticmethod
    def pay(url: str, outcome: str = "paid", **more: object) -> dict[str, Any]:
        """Open the page behind a QR code or a signed address, and press a button of it; HTTPError if it refuses.

        seconds: how late `late` is. paid_at: a past moment, with its zone, for the bill of that day.
        """
        with _NO_PROXY(url, timeout=30) as page:
            address = page.geturl()
        return Counterpart.pay(address, outcome, **more)

    @staticmethod
    def misbehave(base_url: str, route: str, fault: str, times: int = 1, **more: float) -> dict[str, Any]:
        """Arm a fault of a route, which may also be given as the method's whole name."""
        return Counterpart.misbehave(base_url, METHODS.get(route, route), fault, times, **more)

    @staticmethod
    def behave(base_url: str, **traits: str) -> dict[str, str]:
        """Set traits, and return all as they are now."""
        body = json.dumps(traits).encode()
        request = urllib.request.Request(f"{base_url}/traits", body, {"Content-Type": "application/json"})
        with _NO_PROXY(request, timeout=30) as reply:
            now: dict[str, str] = json.load(reply)
            return now

    # -- what the base asks for --------------------------------------------------------------------------------------

    def answer(self, request: Request) -> Reply | None:
        parts = request.path.split("/")
        if request.path == "/gateway.do":
            return self._gateway(request)
        if len(parts) == 3 and parts[1] == "pay":
            return self._press(request, parts[2]) if request.method == "POST" else self._show(parts[2])
        if request.path == "/downloadBillFile.resource" and request.method == "GET":
            return self._download(request.query.get("token", ""))
        if request.path == "/traits":
            return self._traits(request)
        raise RefusedError(404, "NOT_FOUND")

    def dress(self, letter: Letter, how: str) -> tuple[dict[str, str], bytes]:
        fields = json.loads(letter.content) | {"notify_time": beijing(time.time())}
        message = canonical(fields, ())
        fields["sign_type"] = "RSA" if how == "sha1" else "RSA2"
        if how == "sha1":
            fields["sign"] = self._identity.sign_sha1(message)
        elif how in ("forged", "wrong_signature"):
            fields["sign"] = self._identity.forge(message)
        elif how != "unsigned":
            fields["sign"] = self._identity.sign(message)
        return {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}, urlencode(fields).encode()

    def accepts(self, status: int, body: bytes) -> bool:
        return status == 200 and body == b"success"

    # -- the gateway -------------------------------------------------------------------------------------------------

    def _gateway(self, request: Request) -> Reply | None:
        fields: dict[str, str] = {}
        traits, now = self._played(), time.time()
        try:
            fields = request_fields(request.target, request.body)
            check(fields, self._identity, now)
            call = Call(
                route=METHODS[fields["method"]],
                wanted=wanted(fields),
                notify_url=fields.get("notify_url", ""),
                return_url=fields.get("return_url", ""),
                traits=traits,
                now=now,
            )
        except ProtocolError as error:
            if METHODS.get(fields.get("method", "")) in PAGES:
                return _refusal(error.content["sub_code"], error.content["sub_msg"])
            return self._said(fields.get("method", ""), error.content, traits, "unsigned")
        fault = self.faults.take(call.route)
        if fault and fault.kind == "silent_before":
            return None
        return self._cashier(call, fault) if call.route in PAGES else self._api(fields["method"], call, fault)

    def _api(self, method: str, call: Call, fault: Fault | None) -> Reply | None:
        kind = fault.kind if fault else ""
        if kind == "unavailable":
            content = {
                "code": "20000",
                "msg": "Service Currently Unavailable",
                "sub_code": "isp.unknow-error",  # spelt so by Alipay
                "sub_msg": "系统繁忙",
            }
            return self._said(method, content, call.traits, kind)
        try:
            content = {"code": "10000", "msg": "Success"} | self._methods.content(call)
        except BusinessError as error:
            content = _failed(error.sub_code, error.sub_msg)
        self.wake()
        if fault and kind == "slow":
            self.wait(fault.seconds)
        if kind == "silent":
            return None
        if kind == "system_error":
            content = _failed("ACQ.SYSTEM_ERROR", "系统异常")
        if kind == "500":
            return Reply(500, "<html>系统繁忙，请稍后再试</html>".encode(), "text/html;charset=utf-8")
        if kind == "garbage":
            return Reply(200, b"\x00\xff<html>{", "text/html;charset=utf-8")
        return self._said(method, content, call.traits, kind)

    def _said(self, method: str, content: Content, traits: Mapping[str, str], kind: str) -> Reply:
        """The answer, signed over the very text that stands in it."""
        own = content["code"] in ("40001", "40002")
        name = "error_response" if own and traits["gateway_error"] == "error_response" else ""
        name = name or (f"{method.replace('.', '_')}_response" if method in METHODS else "error_response")
        escaped = traits["slashes"] == "escaped" or (traits["slashes"] == "mixed" and next(self._answers) % 2 == 0)
        text = _json(content, escaped=escaped)
        members = [f'"{name}":{text}']
        if kind != "unsigned" and not (content["code"] == "40004" and traits["business_error"] == "unsigned"):
            signer = self._identity.forge if kind == "wrong_signature" else self._identity.sign
            sign = f'"sign":{_json(signer(text.encode()), escaped=escaped)}'
            members.insert(0 if traits["sign_place"] == "first" else 1, sign)
        return Reply(200, f"{{{','.join(members)}}}".encode(), "text/html;charset=utf-8")

    def _played(self) -> dict[str, str]:
        return {name: values[0] for name, values in TRAITS.items()} | self._book.traits()

    def _traits(self, request: Request) -> Reply:
        if request.method == "POST":
            try:
                self._book.set_traits(checked(json.loads(request.body)))
            except ValueError as odd:
                raise RefusedError(400, "BAD_TRAIT", str(odd)) from None
        return json_reply(200, self._played())

    def _download(self, token: str) -> Reply | None:
        traits, fault = self._played(), self.faults.take("download")
        kind = fault.kind if fault else ""
        if fault and kind == "slow":
            self.wait(fault.seconds)
        if kind == "silent_before":
            return None
        if kind == "500":
            return Reply(500, b"", "text/html;charset=gbk")
        if kind == "garbage":
            return Reply(200, b"PK\x03\x04 cut short", "application/zip")
        found = None if kind == "expired" else self._methods.download(token, traits, time.time())
        if found is None:
            page = "<html>下载链接已失效</html>".encode("gbk")
            return Reply(403 if traits["old_download"] == "403" else 200, page, "text/html;charset=gbk")
        name, content = found
        return Reply(200, content, "application/zip", {"Content-Disposition": f'attachment; filename="{name}"'})

    # -- pay pages ---------------------------------------------------------------------------------------------------

    def _cashier(self, call: Call, fault: Fault | None) -> Reply:
        """To the pay page: a trade there is when that is opened."""
        if fault and fault.kind == "slow":
            self.wait(fault.seconds)
        try:
            address = self._methods.order(call)
        except BusinessError as error:
            return _refusal(error.sub_code, error.sub_msg)
        if fault and fault.kind == "500":
            return Reply(500, "<html>系统繁忙，请稍后再试</html>".encode(), "text/html; charset=utf-8")
        return Reply(302, b"", "text/html; charset=utf-8", {"Location": address})

    def _show(self, token: str) -> Reply:
        cashier = self._book.open(token, time.time())
        if cashier is None:
            return _refusal("PAGE_NOT_FOUND", "没有这样的付款页")
        nonce = secrets.token_urlsafe(12)
        return html_reply(200, pages.cashier_page(cashier, self._identity.seller_id, nonce), nonce)

    def _press(self, request: Request, token: str) -> Reply:
        outcome, now = request.form.get("outcome", ""), time.time()
        if outcome not in OUTCOMES:
            raise RefusedError(400, "BAD_OUTCOME", f"outcomes are {', '.join(OUTCOMES)}")
        pays_at = _pays_at(request.form, outcome, now)
        pressed = self._book.press(token, outcome, now, pays_at, self._played()["paid_status"])
        if pressed is None:
            if request.wants_json:
                raise RefusedError(409, "ACQ.TRADE_HAS_CLOSE", "nobody can pay it any more")
            return _refusal("ACQ.TRADE_HAS_CLOSE", "交易已经关闭", status=409)
        self.wake()
        back = self._return_address(pressed)
        if request.wants_json:
            return json_reply(
                200,
                {
                    "outcome": outcome,
                    "out_trade_no": pressed.trade.out_trade_no,
                    "trade_no": pressed.trade.trade_no,
                    "trade_status": pressed.trade.status,
                    "already_paid": pressed.already_paid,
                    "return_url": back,
                },
            )
        if back:
            return Reply(303, b"", "text/html; charset=utf-8", {"Location": back})
        nonce = secrets.token_urlsafe(12)
        return html_reply(200, pages.result_page(pressed, request.path, nonce), nonce)

    def _return_address(self, pressed: Pressed) -> str:
        """Where a buyer who paid is sent; "" for one who did not, or if the merchant wants nobody back."""
        trade, order = pressed.trade, pressed.order
        if not order.return_url or not trade.is_paid:
            return ""
        fields = {
            "charset": "utf-8",
            "out_trade_no": trade.out_trade_no,
            "method": f"alipay.trade.{order.method}.pay.return",
            "total_amount": yuan(trade.amount_minor),
            "trade_no": trade.trade_no,
            "auth_app_id": self._identity.app_id,
            "version": "1.0",
            "app_id": self._identity.app_id,
            "seller_id": self._identity.seller_id,
            "timestamp": beijing(time.time()),
        }
        # What the merchant's address holds itself is not signed.
        signed = fields | {"sign_type": "RSA2", "sign": self._identity.sign(canonical(fields, ()))}
        joint = "&" if urlsplit(order.return_url).query else "?"
        return f"{order.return_url}{joint}{urlencode(signed)}"


def _pays_at(form: Mapping[str, str], outcome: str, now: float) -> float:
    """When the money comes: late if that is wanted, on a past day if `paid_at` says so."""
    try:
        if said := form.get("paid_at"):
            moment = datetime.fromisoformat(said)
            sound = moment.tzinfo is not None and moment.timestamp() <= now
            pays_at = moment.timestamp()
        else:
            delay = float(form.get("seconds") or 5)
            sound = 0 <= delay <= DELAY_SECONDS_MAX
            pays_at = now + delay if outcome == "late" else now
    except ValueError:
        sound, pays_at = False, now
    if not sound:
        raise RefusedError(400, "BAD_TIME", "seconds is up to a day; paid_at is a past moment with its zone")
    return pays_at


def _failed(sub_code: str, sub_msg: str) -> Content:
    return {"code": "40004", "msg": "Business Failed", "sub_code": sub_code, "sub_msg": sub_msg}


def _json(content: object, *, escaped: bool) -> str:
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return text.replace("/", "\\/") if escaped else text


def _refusal(code: str, message: str, status: int = 400) -> Reply:
    nonce = secrets.token_urlsafe(12)
    return html_reply(status, pages.refusal_page(code, message, nonce), nonce)


def main(argv: Sequence[str] | None = None) -> int:
    return serve(argv, "Alipay simulator", 4582, AlipayGateway)
