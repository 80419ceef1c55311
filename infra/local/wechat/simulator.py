"""WeChat Pay as one object, for tests, and as one command, for `make run`."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import secrets
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, urlencode

from infra.local.counterparts import Counterpart, Letter, RefusedError, Reply, Request, html_reply, json_reply
from infra.local.counterparts.counterpart import serve, write_private
from infra.local.counterparts.faults import Fault
from infra.local.counterparts.pages import Button, Fact, Look, pay_page, said_page, yuan
from infra.local.wechat import checks
from infra.local.wechat.bill import bill
from infra.local.wechat.book import OUTCOMES, SCHEMA, Book, Press
from infra.local.wechat.keys import Identity, word
from infra.local.wechat.traits import TRAITS, checked

RETRY_AFTER_SECONDS = (15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10800, 10800, 10800, 21600, 21600)
ANSWER_SECONDS_MAX = 5
REFUND_AFTER_SECONDS = 2
DOWNLOAD_SECONDS = 300
BILL_DAYS_MAX = 92
BILL_READY_HOUR = 10

_AFTER = ("slow", "silent", "500", "wrong_signature", "unsigned", "garbage", "stale_timestamp", "unknown_serial")
_BEFORE = ("before_slow", "before_silent", "before_500", "before_429")
_LOOK = Look("微信支付", "WeChat Pay", "#07a04f")
_BUTTONS = (
    Button("paid", "确认支付", "Pay, and notify the shop"),
    Button("failed", "支付失败", "Fail: nothing is charged, nobody is told, one may try again"),
    Button("silent", "成功但不通知", "Pay, and tell nobody"),
    Button("twice", "重复通知", "Pay, and notify twice"),
    Button("out_of_order", "乱序通知", "Pay; a stale notification arrives before the true one"),
    Button("late", "延迟通知", "Pay now, notify after the delay"),
    Button("wrong_amount", "金额不符", "Pay one fen less"),
    Button("wrong_currency", "币种不符", "Pay in another currency"),
    Button("other_order", "通知写错订单", "Pay; the notification names another order"),
    Button("forged", "伪造通知", "Pay nothing; send a notification signed with a wrong key"),
    Button("signtest", "签名探测", "Pay; a probe with a wrong signature comes before the true notification"),
    Button("success_then_refund", "支付后由微信退款", "Pay; then all of it is refunded at WeChat's side"),
)
_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
_JSAPI_NAMES = ("appId", "timeStamp", "nonceStr", "package", "signType", "paySign")


class WeChatPay(Counterpart):
    """WeChat Pay for one merchant, who is made with all keys at the first start and stays the same.

    refund_after: seconds until a refund is settled. bills_at_once: a bill of any day up to today can be had at any
    hour; otherwise as with WeChat, from 10:00 of the next day. GET and POST /traits shows and sets how uncertain points
    are played (traits.py says which), until the next start.
    """

    schema = SCHEMA
    fault_kinds: ClassVar = {
        "pay": _AFTER + _BEFORE,
        "query": _AFTER + _BEFORE,
        "close": _AFTER + _BEFORE,
        "refunds": (*_AFTER, *_BEFORE, "processing", "abnormal", "closed", "not_enough"),
        "refund_query": _AFTER + _BEFORE,
        "bill": (*_AFTER, *_BEFORE, "statement_creating", "wrong_hash"),
        "download": ("slow", "silent", "500", "garbage", "cut_short"),
        "notify": ("slow", "silent", "wrong_signature", "stale_timestamp", "unknown_serial", "tampered", "garbage"),
    }

    def __init__(
        self,
        state: Path,
        port: int = 0,
        retry_after: Sequence[float] = RETRY_AFTER_SECONDS,
        refund_after: float = REFUND_AFTER_SECONDS,
        answer_within: float = ANSWER_SECONDS_MAX,
        bills_at_once: bool = True,
    ) -> None:
        super().__init__(state, port, retry_after, answer_within)
        self._identity = Identity.kept_in(state.with_name(state.name + ".keys.json"))
        self._bills_at_once = bills_at_once
        self._traits = {name: values[0] for name, values in TRAITS.items()}
        self._book = Book(self.store, self.letters, self._identity, refund_after, self._traits)
        write_private(state.with_name(state.name + ".merchant.json"), {"terms": self.terms, "keys": self.keys})

    @property
    def terms(self) -> dict[str, str]:
        return {"appid": self._identity.appid, "mchid": self._identity.mchid, "gateway": self.url}

    @property
    def keys(self) -> dict[str, str]:
        return self._identity.merchants_keys

    @staticmethod
    def jsapi_page(base_url: str, parameters: Mapping[str, str]) -> str:
        """The pay page that opens when a page inside WeChat hands over these parameters; their paySign is checked."""
        return f"{base_url}/pay?{urlencode({name: parameters[name] for name in _JSAPI_NAMES})}"

    @staticmethod
    def behave(base_url: str, **traits: str) -> dict[str, str]:
        """Set traits, and return all as they are now."""
        body = json.dumps(traits).encode()
        request = urllib.request.Request(f"{base_url}/traits", body, {"Content-Type": "application/json"})
        with _NO_PROXY(request, timeout=30) as reply:
            now: dict[str, str] = json.load(reply)
            return now

    # -- doors -----------------------------------------------------------------------------------------------------

    def answer(self, request: Request) -> Reply | None:
        if request.path.startswith("/v3/"):
            return self._api(request)
        if request.path == "/pay":
            return self._pay(request)
        if request.path == "/traits":
            return self._play(request)
        raise RefusedError(404, "NOT_FOUND")

    def _play(self, request: Request) -> Reply:
        if request.method == "POST":
            try:
                self._traits.update(checked(json.loads(request.body)))
            except ValueError as odd:
                raise RefusedError(400, "BAD_TRAIT", str(odd)) from None
        return json_reply(200, self._traits)

    def _api(self, request: Request) -> Reply | None:
        """The signed answer; None if a fault swallows it."""
        now = time.time()
        fault: Fault | None = None
        try:
            nonce = checks.authorized(request, self._identity, now)
            if not self._book.use_nonce(nonce, now):
                raise RefusedError(401, "SIGN_ERROR", "随机串已使用过")
            route, work = self._work(request, now)
            fault = self.faults.take(route)
            if route == "download":
                return self._download(request, fault, now)
            checks.check_headers(request)
            if fault and fault.kind == "before_silent":
                return None
            if fault and fault.kind == "before_slow":
                self.wait(fault.seconds)
            if fault and fault.kind == "before_500":
                raise _system_error()
            if fault and fault.kind == "before_429":
                raise RefusedError(429, "FREQUENCY_LIMITED", "请求过于频繁")
            reply = work(fault)
        except RefusedError as refused:
            code = refused.code if self._traits["codes"] == "underscored" else refused.code.replace("_", "")
            reply = json_reply(refused.status, {"code": code, "message": refused.message})
        self.wake()
        return self._signed(reply, fault)

    def _work(self, request: Request, now: float) -> tuple[str, Callable[[Fault | None], Reply]]:
        """Which route it is, and what is to be done there."""
        book, body, query = self._book, request.body, request.query
        # The path is split before it is decoded: an order number may not bring slashes in.
        match request.method, [unquote(part) for part in request.path.split("/")[2:]]:
            case "POST", ["pay", "transactions", ("native" | "jsapi" | "h5") as kind]:
                return "pay", lambda _: self._create(body, kind, now)
            case "GET", ["pay", "transactions", "out-trade-no", number]:
                return "query", lambda _: self._query(query, out_trade_no=number)
            case "GET", ["pay", "transactions", "id", number]:
                return "query", lambda _: self._query(query, transaction_id=number)
            case "POST", ["pay", "transactions", "out-trade-no", number, "close"]:
                return "close", lambda _: self._close(body, number)
            case "POST", ["refund", "domestic", "refunds"]:
                return "refunds", lambda fault: self._refund(body, fault)
            case "GET", ["refund", "domestic", "refunds", number]:
                return "refund_query", lambda _: json_reply(200, book.refund_query(number))
            case "GET", ["bill", "tradebill"]:
                return "bill", lambda fault: self._bill(query, fault, now)
            case "GET", ["billdownload", "file"]:
                return "download", lambda _: Reply(200)
        raise RefusedError(404, "NOT_FOUND", "没有这个接口")

    def _signed(self, reply: Reply, fault: Fault | None) -> Reply | None:
        kind = fault.kind if fault else ""
        if kind == "silent":
            return None
        if fault and kind == "slow":
            self.wait(fault.seconds)
        if kind == "500":
            reply = json_reply(500, {"code": "SYSTEM_ERROR", "message": "系统异常，请稍后重试"})
        if kind == "garbage":
            reply = Reply(200, b"<html><body>OK</body></html>")
        reply.headers["Request-ID"] = secrets.token_hex(16).upper()
        if kind != "unsigned" and (reply.status < 400 or self._traits["refusals"] == "signed"):
            reply.headers |= self._signature(reply.body, kind)
        return reply

    def _signature(self, body: bytes, how: str) -> dict[str, str]:
        stamp = str(int(time.time()) - (2 * checks.CLOCK_SKEW_SECONDS_MAX if how == "stale_timestamp" else 0))
        nonce = word(32)
        message = f"{stamp}\n{nonce}\n".encode() + body + b"\n"
        wrong = how in ("forged", "wrong_signature", "signtest")
        signature = self._identity.forge(message) if wrong else self._identity.sign(message)
        unknown = "PUB_KEY_ID_01" + "0" * 30
        return {
            "Wechatpay-Nonce": nonce,
            "Wechatpay-Signature": ("WECHATPAY/SIGNTEST/" if how == "signtest" else "") + signature,
            "Wechatpay-Timestamp": stamp,
            "Wechatpay-Serial": unknown if how == "unknown_serial" else self._identity.platform_key_id,
            "Wechatpay-Signature-Type": "WECHATPAY2-SHA256-RSA2048",
        }

    # -- API -------------------------------------------------------------------------------------------------------

    def _create(self, body: bytes, kind: str, now: float) -> Reply:
        prepay_id = self._book.create(checks.order(body, kind, self._identity, now))
        page = f"{self.url}/pay?{urlencode({'prepay_id': prepay_id})}"
        # WeChat's own code is weixin://wxpay/bizpayurl?pr=…, which only its app opens. Here a person sits at a PC,
        # so the code is an address that a browser opens too.
        return json_reply(
            200, {"native": {"code_url": page}, "jsapi": {"prepay_id": prepay_id}, "h5": {"h5_url": page}}[kind]
        )

    def _query(self, query: Mapping[str, str], **number: str) -> Reply:
        checks.check_mchid(query, self._identity)
        return json_reply(200, self._book.query(**number))

    def _close(self, body: bytes, out_trade_no: str) -> Reply:
        checks.check_mchid(checks.json_object(body), self._identity)
        self._book.close(out_trade_no)
        return Reply(204)

    def _refund(self, body: bytes, fault: Fault | None) -> Reply:
        wanted = checks.refund_order(body)
        kind = fault.kind if fault else ""
        if kind == "not_enough":
            raise RefusedError(403, "NOT_ENOUGH", "基本账户余额不足")
        pause = fault.seconds if fault and kind == "processing" else None
        ends_as = {"abnormal": "ABNORMAL", "closed": "CLOSED"}.get(kind, "SUCCESS")
        return json_reply(200, self._book.refund(wanted, pause, ends_as))

    def _bill(self, query: Mapping[str, str], fault: Fault | None, now: float) -> Reply:
        day, kind, packed = checks.bill_day(query)
        if fault and fault.kind == "statement_creating":
            raise RefusedError(400, "STATEMENT_CREATING", "账单生成中，请稍后再试")
        self._check_day(day, now)
        lines = self._book.lines(day, kind, now)
        if not lines and self._traits["empty_day"] == "NO_STATEMENT_EXIST":
            raise RefusedError(400, "NO_STATEMENT_EXIST", "账单不存在")
        as_before = self._traits["bill_columns"] == "24"
        text = bill(lines, self._identity.appid, self._identity.mchid, as_before=as_before)
        token = self._book.keep_bill(gzip.compress(text, mtime=0) if packed else text, now, DOWNLOAD_SECONDS)
        # The hash is of what the merchant has after decompressing.
        hashed = text + b"?" if fault and fault.kind == "wrong_hash" else text
        return json_reply(
            200,
            {
                "hash_type": "SHA1",
                "hash_value": hashlib.sha1(hashed).hexdigest(),  # noqa: S324 - the protocol's own checksum
                "download_url": f"{self.url}/v3/billdownload/file?{urlencode({'token': token})}",
            },
        )

    def _check_day(self, day: date, now: float) -> None:
        here = datetime.fromtimestamp(now, checks.BEIJING)
        if day > here.date() or day < here.date() - timedelta(days=BILL_DAYS_MAX):
            raise checks.param_error("bill_date 应在最近三个月内")
        if self._bills_at_once:
            return
        ready = datetime(day.year, day.month, day.day, BILL_READY_HOUR, tzinfo=checks.BEIJING) + timedelta(days=1)
        if here < ready:
            raise RefusedError(400, "STATEMENT_CREATING", "账单次日 10 点后可下载")

    def _download(self, request: Request, fault: Fault | None, now: float) -> Reply | None:
        """The bill's bytes, which WeChat does not sign; the hash that came signed before vouches for them."""
        kind = fault.kind if fault else ""
        if fault and kind == "slow":
            self.wait(fault.seconds)
        if kind == "silent":
            return None
        if kind == "500":
            return json_reply(500, {"code": "SYSTEM_ERROR", "message": "系统异常，请稍后重试"})
        content = self._book.kept_bill(request.query.get("token", ""), now)
        if content is None:
            return json_reply(400, {"code": "PARAM_ERROR", "message": "下载地址无效或已过期"})
        if kind == "garbage":
            content = b"<html><body>502 Bad Gateway</body></html>"
        if kind == "cut_short":
            content = content[: len(content) // 2]
        return Reply(200, content, "application/octet-stream")

    # -- notifications ---------------------------------------------------------------------------------------------

    def dress(self, letter: Letter, how: str) -> tuple[dict[str, str], bytes]:
        body = b"<xml/>" if how == "garbage" else letter.content
        headers = {
            "User-Agent": "Mozilla/4.0",
            "Content-Type": "application/json",
            "Accept": "*/*",
            "Pragma": "no-cache",
            "Request-ID": secrets.token_hex(16).upper(),
        } | self._signature(body, how)
        if how == "tampered":
            event = json.loads(body)
            event["create_time"] = event["create_time"].replace("+08:00", "+09:00")
            body = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        return headers, body

    def accepts(self, status: int, body: bytes) -> bool:
        return status in (200, 204)

    # -- pay page --------------------------------------------------------------------------------------------------

    def _pay(self, request: Request) -> Reply:
        as_json = request.method == "POST" and request.wants_json
        nonce = secrets.token_urlsafe(12)
        try:
            prepay_id = self._prepay_id(request.query)
            if request.method == "POST":
                pressed = self._book.press(prepay_id, _press(request.form), time.time())
                self.wake()
                if as_json:
                    return json_reply(200, pressed)
                zh, en = ("本单此前已支付", "It was paid before") if pressed["already_paid"] else ("已处理", "Done")
                facts = [Fact("按钮", "Button", pressed["outcome"]), *_facts(pressed)]
                return html_reply(200, said_page(_LOOK, zh, en, facts, nonce, request.target), nonce)
            return html_reply(200, self._page(prepay_id, nonce), nonce)
        except RefusedError as refused:
            if as_json:
                raise
            page = said_page(_LOOK, refused.message, refused.code, [], nonce)
            return html_reply(refused.status, page, nonce)

    def _prepay_id(self, query: Mapping[str, str]) -> str:
        """From a code, or from what a page inside WeChat hands over with its signature."""
        if "paySign" not in query:
            return query.get("prepay_id", "")
        message = "".join(f"{query.get(name, '')}\n" for name in ("appId", "timeStamp", "nonceStr", "package"))
        if (
            query.get("appId") != self._identity.appid
            or query.get("signType") != "RSA"
            or not re.fullmatch(r"[0-9]{10}", query.get("timeStamp", ""))
            or not query.get("package", "").startswith("prepay_id=")
            or not self._identity.merchant_signed(message.encode(), query["paySign"])
        ):
            raise RefusedError(400, "PAY_SIGN_ERROR", "支付验证签名失败")
        return query["package"].removeprefix("prepay_id=")

    def _page(self, prepay_id: str, nonce: str) -> bytes:
        row = self._book.to_pay(prepay_id)
        told = self._book.query(out_trade_no=row["out_trade_no"])
        paid = told["trade_state"] in ("SUCCESS", "REFUND")
        note = None
        if paid:
            note = ("已支付：不会再扣款，按钮只重发通知。", "Paid: not charged again, the buttons only notify again.")
        elif told["trade_state"] == "CLOSED":
            note = ("订单已关闭，不能支付。", "Closed: it cannot be paid.")
        elif row["expires_at"] <= time.time():
            note = ("已过支付截止时间，不能支付。", "Its time is over: it cannot be paid.")
        facts = [Fact("商户号", "Merchant", told["mchid"]), *_facts(told)]
        return pay_page(_LOOK, row["description"], yuan(row["total"], row["currency"]), facts, _BUTTONS, nonce, note)


def _press(form: Mapping[str, str]) -> Press:
    seconds = form.get("seconds") or "5"
    if form.get("outcome") not in OUTCOMES or not re.fullmatch(r"\d{1,5}(\.\d{1,3})?", seconds):
        raise RefusedError(400, "BAD_OUTCOME", "没有这个按钮")
    paid_at = form.get("paid_at")
    return Press(
        outcome=form["outcome"],
        seconds=float(seconds),
        paid_at=checks.moment(paid_at, "paid_at").timestamp() if paid_at else None,
        anyway=bool(form.get("anyway")),
        other_no=form.get("other_no", ""),
    )


def _facts(told: Mapping[str, Any]) -> list[Fact]:
    return [
        Fact("订单号", "Order", told["out_trade_no"]),
        Fact("状态", "State", told["trade_state"]),
        *([Fact("微信订单号", "Transaction", told["transaction_id"])] if told.get("transaction_id") else []),
    ]


def _system_error() -> RefusedError:
    return RefusedError(500, "SYSTEM_ERROR", "系统异常，请稍后重试")


def main(argv: Sequence[str] | None = None) -> int:
    return serve(argv, "WeChat Pay simulator", 4581, lambda state, port: WeChatPay(state, port))
