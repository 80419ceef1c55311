"""What merchants send, checked by the letter: the Authorization header, orders, refunds, bills."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlsplit

from infra.local.counterparts.web import RefusedError, Request
from infra.local.wechat.keys import Identity

BEIJING = timezone(timedelta(hours=8))
CLOCK_SKEW_SECONDS_MAX = 300
CODE_SECONDS = 7200  # how long a code can be paid that has no time_expire
FEN_MAX = 10**12
TRADE_TYPES = {"native": "NATIVE", "jsapi": "JSAPI", "h5": "MWEB"}

_SCHEME = "WECHATPAY2-SHA256-RSA2048 "
_PAIR = re.compile(r'([a-z_]+)="([^"]*)"')
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")
_TRADE_NO = re.compile(r"[0-9A-Za-z_*|-]{6,32}")
_REFUND_NO = re.compile(r"[0-9A-Za-z_*|@-]{1,64}")
_REQUIRED = ("appid", "mchid", "description", "out_trade_no", "notify_url", "amount")
_OPTIONAL = ("time_expire", "attach", "goods_tag", "support_fapiao", "detail", "scene_info", "settle_info")


@dataclass(frozen=True)
class Order:
    """terms: all that must not differ where the order number is used again."""

    out_trade_no: str
    trade_type: str
    description: str
    total: int
    currency: str
    notify_url: str
    attach: str
    openid: str
    expires_at: float
    terms: str


@dataclass(frozen=True)
class RefundOrder:
    out_refund_no: str
    transaction_id: str
    out_trade_no: str
    refund: int
    total: int
    currency: str
    reason: str
    notify_url: str
    terms: str


def authorized(request: Request, identity: Identity, now: float) -> str:
    """The nonce of a request that the merchant signed; it is the caller's to see that it is new."""
    header = request.headers.get("Authorization", "")
    parts = [_PAIR.fullmatch(part) for part in header.removeprefix(_SCHEME).split(",")]
    given = dict(part.groups() for part in parts if part)
    if (
        not header.startswith(_SCHEME)
        or len(given) != len(parts)
        or set(given) != {"mchid", "nonce_str", "timestamp", "serial_no", "signature"}
    ):
        raise _sign_error("Authorization 不合法")
    stamp, nonce = given["timestamp"], given["nonce_str"]
    if not (re.fullmatch(r"[0-9]{1,12}", stamp) and abs(now - int(stamp)) <= CLOCK_SKEW_SECONDS_MAX):
        raise _sign_error("时间戳与当前时间相差超过 300 秒")
    if given["mchid"] != identity.mchid or given["serial_no"] != identity.serial:
        raise _sign_error("商户号或证书序列号不匹配")
    if not 0 < len(nonce) <= 64:
        raise _sign_error("随机串不合法")
    message = f"{request.method}\n{request.target}\n{stamp}\n{nonce}\n".encode() + request.body + b"\n"
    if not identity.merchant_signed(message, given["signature"]):
        raise _sign_error("签名错误")
    # In public-key mode the merchant says which platform key it will verify with.
    if request.headers.get("Wechatpay-Serial", identity.platform_key_id) != identity.platform_key_id:
        raise _sign_error("Wechatpay-Serial 不是本商户的微信支付公钥 ID")
    return nonce


def check_headers(request: Request) -> None:
    if "application/json" not in request.headers.get("Accept", ""):
        raise param_error("Accept 必须为 application/json")
    if request.method == "POST" and request.headers.get_content_type() != "application/json":
        raise param_error("Content-Type 必须为 application/json")


def check_mchid(given: Mapping[str, Any], identity: Identity) -> None:
    if given.get("mchid") != identity.mchid:
        raise param_error("mchid 缺失或与签名的商户号不符")


def order(body: bytes, kind: str, identity: Identity, now: float) -> Order:
    """The order that the body asks for, or RefusedError."""
    given = json_object(body)
    required = (*_REQUIRED, *(("payer",) if kind == "jsapi" else ()), *(("scene_info",) if kind == "h5" else ()))
    _check_names(given, required, _OPTIONAL)
    if (given["appid"], given["mchid"]) != (identity.appid, identity.mchid):
        raise RefusedError(400, "APPID_MCHID_NOT_MATCH", "appid 和 mchid 不匹配")
    out_trade_no = _text(given, "out_trade_no", 32)
    if not _TRADE_NO.fullmatch(out_trade_no):
        raise param_error("out_trade_no 应为 6 到 32 个字符：数字、大小写字母、_-|*")
    amount = _part(given, "amount", ("total",), ("currency",))
    currency = amount.get("currency", "CNY")
    if currency != "CNY":
        raise param_error("amount.currency 只支持 CNY")
    expires_at = now + CODE_SECONDS
    if "time_expire" in given:
        expires_at = moment(_text(given, "time_expire", 64), "time_expire").timestamp()
        if expires_at <= now:
            raise param_error("time_expire 已过")
    openid = _text(_part(given, "payer", ("openid",)), "openid", 128) if kind == "jsapi" else ""
    if "scene_info" in given:
        _check_scene(given, kind)
    return Order(
        out_trade_no=out_trade_no,
        trade_type=TRADE_TYPES[kind],
        description=_text(given, "description", 127),
        total=_fen(amount, "total"),
        currency=currency,
        notify_url=_notify_url(given),
        attach=_text(given, "attach", 128) if "attach" in given else "",
        openid=openid,
        expires_at=expires_at,
        terms=json.dumps([kind, given], sort_keys=True),
    )


def refund_order(body: bytes) -> RefundOrder:
    given = json_object(body)
    _check_names(
        given,
        ("out_refund_no", "amount"),
        ("transaction_id", "out_trade_no", "reason", "notify_url", "funds_account", "goods_detail"),
    )
    if ("transaction_id" in given) == ("out_trade_no" in given):
        raise param_error("transaction_id 与 out_trade_no 二选一")
    out_refund_no = _text(given, "out_refund_no", 64)
    if not _REFUND_NO.fullmatch(out_refund_no):
        raise param_error("out_refund_no 只能是数字、大小写字母、_-|*@")
    amount = _part(given, "amount", ("refund", "total", "currency"), ("from",))
    return RefundOrder(
        out_refund_no=out_refund_no,
        transaction_id=_text(given, "transaction_id", 32) if "transaction_id" in given else "",
        out_trade_no=_text(given, "out_trade_no", 32) if "out_trade_no" in given else "",
        refund=_fen(amount, "refund"),
        total=_fen(amount, "total"),
        currency=_text(amount, "currency", 16),
        reason=_text(given, "reason", 80) if "reason" in given else "",
        notify_url=_notify_url(given) if "notify_url" in given else "",
        terms=json.dumps(given, sort_keys=True),
    )


def bill_day(query: Mapping[str, str]) -> tuple[date, str, bool]:
    """Day, kind of bill, and whether it is to be compressed."""
    given = query.get("bill_date", "")
    kind = query.get("bill_type", "ALL")
    tar = query.get("tar_type")
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", given) or kind not in ("ALL", "SUCCESS", "REFUND"):
        raise param_error("bill_date 或 bill_type 不合法")
    if tar not in (None, "GZIP") or set(query) - {"bill_date", "bill_type", "tar_type"}:
        raise param_error("tar_type 只支持 GZIP")
    try:
        return date.fromisoformat(given), kind, tar is not None
    except ValueError:
        raise param_error("bill_date 不是日期") from None


def moment(text: str, name: str) -> datetime:
    """RFC 3339, with seconds and an offset."""
    if not _RFC3339.fullmatch(text):
        raise param_error(f"{name} 不是 RFC3339 时间")
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise param_error(f"{name} 不是 RFC3339 时间") from None


def json_object(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise param_error("请求体不是 JSON") from None
    if not isinstance(given, dict):
        raise param_error("请求体不是 JSON 对象")
    return given


def param_error(message: str) -> RefusedError:
    return RefusedError(400, "PARAM_ERROR", message)


def _sign_error(message: str) -> RefusedError:
    return RefusedError(401, "SIGN_ERROR", message)


def _check_names(given: Mapping[str, Any], required: Iterable[str], optional: Iterable[str] = ()) -> None:
    """Real WeChat overlooks a name it does not know; here a misspelt one must be seen."""
    missing = set(required) - set(given)
    unknown = set(given) - set(required) - set(optional)
    if missing or unknown:
        raise param_error(f"缺少 {sorted(missing)}，未知 {sorted(unknown)}")


def _part(given: Mapping[str, Any], name: str, required: Iterable[str], optional: Iterable[str] = ()) -> dict[str, Any]:
    part = given[name]
    if not isinstance(part, dict):
        raise param_error(f"{name} 不是对象")
    _check_names(part, required, optional)
    return part


def _text(given: Mapping[str, Any], name: str, length_max: int) -> str:
    text = given[name]
    if not isinstance(text, str) or not 0 < len(text) <= length_max:
        raise param_error(f"{name} 应为 1 到 {length_max} 个字符")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise param_error(f"{name} 含半个字符")
    return text


def _fen(amount: Mapping[str, Any], name: str) -> int:
    fen = amount[name]
    if type(fen) is not int or not 0 < fen <= FEN_MAX:
        raise param_error(f"amount.{name} 应为正整数，单位为分")
    return fen


def _notify_url(given: Mapping[str, Any]) -> str:
    url = _text(given, "notify_url", 255)
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        raise param_error("notify_url 不是网址") from None
    # WeChat calls https only; a merchant on this very machine has no certificate.
    here = host.startswith("127.") or "localhost" in host.split(".")
    if not host or parts.scheme not in (("http", "https") if here else ("https",)):
        raise param_error("notify_url 必须是 https 网址")
    if "?" in url or "#" in url:
        raise param_error("notify_url 不能携带参数")
    return url


def _check_scene(given: Mapping[str, Any], kind: str) -> None:
    required = ("payer_client_ip", "h5_info") if kind == "h5" else ("payer_client_ip",)
    scene = _part(given, "scene_info", required, ("device_id", "store_info"))
    try:
        ipaddress.ip_address(_text(scene, "payer_client_ip", 45))
    except ValueError:
        raise param_error("scene_info.payer_client_ip 不是 IP 地址") from None
    if kind == "h5":
        _text(_part(scene, "h5_info", ("type",), ("app_name", "app_url", "bundle_id", "package_name")), "type", 32)
