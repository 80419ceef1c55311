"""What the gateway asks of a request before it looks at what is wanted, and how it reads the wanted."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from infra.local.alipay.book import BEIJING, BusinessError
from infra.local.alipay.signing import Identity

METHODS = {
    "alipay.trade.precreate": "precreate",
    "alipay.trade.page.pay": "page",
    "alipay.trade.wap.pay": "wap",
    "alipay.trade.query": "query",
    "alipay.trade.close": "close",
    "alipay.trade.cancel": "cancel",
    "alipay.trade.refund": "refund",
    "alipay.trade.fastpay.refund.query": "refund_query",
    "alipay.data.dataservice.bill.downloadurl.query": "bill",
}
PAGES = ("page", "wap")  # what a buyer's browser is sent to
CLOCK_SKEW_SECONDS_MAX = 900
_AMOUNT = re.compile(r"(0|[1-9][0-9]{0,8})\.([0-9]{2})")
_AMOUNT_MINOR_MAX = 10**10  # 100,000,000.00 yuan
_NUMBER = re.compile(r"[0-9A-Za-z_]{1,64}")
_SPAN = re.compile(r"([1-9][0-9]{0,4})([mhd])")
_SPAN_SECONDS = {"m": 60, "h": 3600, "d": 86_400}
_SPAN_SECONDS_MAX = 15 * 86_400
_MESSAGES = {"40001": "Missing Required Arguments", "40002": "Invalid Arguments"}


class ProtocolError(Exception):
    """The gateway itself refuses, and does not sign its answer."""

    def __init__(self, code: str, sub_code: str, sub_msg: str) -> None:
        super().__init__(sub_code)
        self.content = {"code": code, "msg": _MESSAGES[code], "sub_code": sub_code, "sub_msg": sub_msg}


def request_fields(target: str, body: bytes) -> dict[str, str]:
    """The fields of query and form together, decoded once; ProtocolError if one comes twice or is not UTF-8."""
    try:
        pairs = [
            pair
            for text in (urlsplit(target).query, body.decode("ascii"))
            for pair in parse_qsl(text, keep_blank_values=True, errors="strict")
        ]
    except ValueError:
        raise ProtocolError("40002", "isv.invalid-signature", "验签出错，建议检查编码是否为UTF-8") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ProtocolError("40002", "isv.invalid-parameter", "参数重复")
    return fields


def check(fields: Mapping[str, str], identity: Identity, now: float) -> None:
    """Raise ProtocolError unless the merchant signed this request for this gateway just now."""
    for name, sub_code, sub_msg in (
        ("method", "isv.missing-method", "缺少方法名参数"),
        ("app_id", "isv.missing-app-id", "缺少appId参数"),
        ("sign_type", "isv.missing-signature-type", "缺少签名类型参数"),
        ("sign", "isv.missing-signature", "缺少签名参数"),
        ("timestamp", "isv.missing-timestamp", "缺少时间戳参数"),
        ("version", "isv.missing-version", "缺少版本参数"),
        ("charset", "isv.missing-charset", "缺少字符集参数"),
    ):
        if not fields.get(name):
            raise ProtocolError("40001", sub_code, sub_msg)
    for holds, sub_code, sub_msg in (
        (fields["method"] in METHODS, "isv.invalid-method", "不存在的方法名"),
        (fields["app_id"] == identity.app_id, "isv.invalid-app-id", "无效的appId参数"),
        (fields["sign_type"] == "RSA2", "isv.invalid-signature-type", "无效的签名类型"),
        (fields["charset"].lower() == "utf-8", "isv.invalid-charset", "字符集错误"),
        (fields.get("format", "JSON").upper() == "JSON", "isv.invalid-format", "无效的数据格式"),
        (
            identity.request_holds(fields),
            "isv.invalid-signature",
            "验签出错，建议检查签名字符串或签名私钥与应用公钥是否匹配",
        ),
        (fields["version"] == "1.0", "isv.unsupported-version", "不支持的版本"),
        (_is_of_now(fields["timestamp"], now), "isv.invalid-timestamp", "非法的时间戳参数"),
        (_is_web_address(fields.get("notify_url", "")), "isv.invalid-parameter", "无效的notify_url"),
        (_is_web_address(fields.get("return_url", "")), "isv.invalid-parameter", "无效的return_url"),
    ):
        if not holds:
            raise ProtocolError("40002", sub_code, sub_msg)


def wanted(fields: Mapping[str, str]) -> Wanted:
    """The business parameters; ProtocolError if they are no JSON object."""
    try:
        content = json.loads(fields.get("biz_content", ""))
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise ProtocolError("40002", "isv.invalid-parameter", "参数无效：biz_content不是JSON对象")
    return Wanted(content)


@dataclass(frozen=True)
class Wanted:
    """Business parameters, read strictly; BusinessError names the one that is odd."""

    content: Mapping[str, Any]

    def text(self, name: str, length_max: int, *, needed: bool = False) -> str:
        value = self.content.get(name, "")
        # A number where text belongs is taken by the real gateway at times; here it is a mistake.
        if not isinstance(value, str) or len(value) > length_max or (needed and not value):
            raise _odd(name)
        return value

    def number(self, name: str, *, needed: bool = False) -> str:
        """A number that the merchant gives: at most 64 letters, digits and underscores."""
        value = self.text(name, 64, needed=needed)
        if value and not _NUMBER.fullmatch(value):
            raise _odd(name)
        return value

    def amount_minor(self, name: str) -> int:
        found = _AMOUNT.fullmatch(self.text(name, 12, needed=True))
        minor = int(found[1]) * 100 + int(found[2]) if found else 0
        if not 0 < minor <= _AMOUNT_MINOR_MAX:
            raise _odd(name)
        return minor

    def expires_at(self, now: float, *spans: str) -> float | None:
        """The first of `time_expire`, a moment in Beijing, and the named spans; None if none is given."""
        moments = []
        for name in spans:
            if text := self.text(name, 6):
                found = _SPAN.fullmatch(text)
                seconds = int(found[1]) * _SPAN_SECONDS[found[2]] if found else 0
                if not 0 < seconds <= _SPAN_SECONDS_MAX:
                    raise _odd(name)
                moments.append(now + seconds)
        if text := self.text("time_expire", 19):
            moment = _moment(text)
            if moment is None or not now < moment <= now + _SPAN_SECONDS_MAX:
                raise _odd("time_expire")
            moments.append(moment)
        return min(moments) if moments else None

    def one_of(self, name: str, allowed: tuple[str, ...], *, needed: bool = False) -> None:
        value = self.text(name, 64, needed=needed)
        if value and value not in allowed:
            raise _odd(name)


def _odd(name: str) -> BusinessError:
    return BusinessError("ACQ.INVALID_PARAMETER", f"参数无效：{name}")


def _moment(text: str) -> float | None:
    try:
        moment = datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=BEIJING).timestamp()
    except ValueError:
        return None
    return moment if len(text) == 19 else None


def _is_of_now(timestamp: str, now: float) -> bool:
    moment = _moment(timestamp)
    return moment is not None and abs(now - moment) <= CLOCK_SKEW_SECONDS_MAX


def _is_web_address(url: str) -> bool:
    """Or nothing: the address is not always needed."""
    if not url:
        return True
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and len(url) <= 256
