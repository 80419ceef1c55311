"""What suppliers say, made fit to be stored and shown to staff: the names of all fields, the values of harmless ones.

A field is hidden unless it is known to be harmless: suppliers add fields, and a secret must not come out through one
that nobody has heard of. Texts meant for people are kept without whatever in them might be a code or an account.
"""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Iterable, Sequence
from decimal import Decimal

LENGTH_MAX = 2000
HIDDEN = "***"

# Of answers, a number or a word each.
_WORDS = "code ok status state error_code errorCode success event type method"
# Values that say what became of an order, and nothing of its goods or of who gets them.
_HARMLESS = {
    "dujiao": "order_id order_no downstream_order_no amount balance currency product_id sku_id quantity unit_price "
    "total_price fulfillment_type delivered_at protocol_version id total page page_size price_amount stock_status "
    "stock_quantity is_active timestamp",
    "kasushou": "ordersn external_orderno total_price balance goods_type goods_price face_value stock_num start_count "
    "end_count has_back_money time",
    "kashangwl": "order_id outer_order_id product_id product_type product_price quantity total_price refunded_amount "
    "created_at customer_id stock_state supply_state hold_state valid_purchasing_quantity price timestamp",
    "acg": "tradeNo trade_no amount stock request_no shared_code price",
    "fulu": "order_id customer_order_no product_id price order_price buy_num order_state order_status order_type "
    "create_time finish_time charge_finish_time purchase_price sales_status operator_serial_number "
    "refund_status refund_time version sign_type",
    "reloadly": "transactionId operatorTransactionId customIdentifier amount fee discount smsFee totalFee timeStamp "
    "currencyCode productId quantity unitPrice totalPrice transactionCreatedTime transactionDate "
    "transactionUpdatedTime deliveredAmount requestedAmount totalElements totalPages",
}
_FOR_PEOPLE = (
    "msg message error_message recharge_hints state_info recharge_description refund_description title name goods_name "
    "product_name productName"
)
_JSON_INSIDE = "result biz_content event_data"
# What goods, accounts and keys go by, by the same protocols. All below them is hidden, whatever its name.
_SECRET = {
    "dujiao": "payload delivery_data manual_form_data api_key api_secret",
    "kasushou": "card_list card_no card_password recharge_info attach express_list apikey sign",
    "kashangwl": "cards card_no card_password no password tickets ticket recharge_account recharge_params recharge_url "
    "recharge_info recharge_template_input_items",
    "acg": "secret leave_message contact card_id device widget url app_key",
    "fulu": "cards card_number card_pwd charge_account charge_ip app_auth_token",
    "reloadly": "cardNumber pinCode access_token client_secret recipientPhone recipientPhoneDetails recipientEmail",
    "http": "authorization cookie key token signature",
}

_STATES = frozenset(_WORDS.lower().split())
_KEPT = frozenset(" ".join(_HARMLESS.values()).lower().split())
_PROSE = frozenset(_FOR_PEOPLE.lower().split())
_INNER = frozenset(_JSON_INSIDE.split())
_CLOSED = frozenset(" ".join(_SECRET.values()).lower().split())
_NAMES = _STATES | _KEPT | _PROSE | _INNER | _CLOSED | {"data", "fulfillment", "items", "list"}

_STATE = re.compile(r"-?[0-9]{1,5}|[A-Za-z_.]{1,40}")
_SPOKEN = re.compile(r"-?[0-9]{1,5}|(?=[A-Z]*[a-z_.])[A-Za-z_.]{1,40}")  # a card's code may go by "code" or "type" too
_VALUE = re.compile(r"[\w .:+/-]{0,64}")
_NAME = re.compile(r"[a-z][A-Za-z_]{0,39}")
_NAMED = re.compile(r"[A-Za-z_]{2,40}(?=\"?\s{0,4}[:=])")
_GROUPED = re.compile(r"[0-9](?:[ -]?[0-9]){5,}")
_RUN = re.compile(r"[!-~]{5,}")
_WORD = re.compile(r"[\"'(]*[A-Z]?[a-z]+(?:[-/'][a-z]+)*[\"').,:;!?]*")


def redacted(text: str | bytes, hide: Iterable[str] = ()) -> str:
    """At most `LENGTH_MAX` characters of it, with ``***`` for every value that might be a code, a key or an account.

    Of a text that is neither JSON nor a form only names of fields are left. hide: what a sentence may repeat of an
    account, however harmless it looks.
    """
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    hidden = tuple(filter(None, hide))
    told = _json(text, hidden)
    return (_form(text, hidden) if told is None else told)[:LENGTH_MAX].encode(errors="replace").decode()


def _json(text: str, hide: Sequence[str]) -> str | None:
    try:
        found = json.loads(text, parse_float=Decimal)
        return json.dumps(_clean(found, hide), ensure_ascii=False, separators=(",", ":"))
    except (ValueError, RecursionError):
        return None


def _clean(value: object, hide: Sequence[str], name: str = "", closed: bool = False) -> object:
    """name: of the field that it is the value of. closed: it lies in one that is secret."""
    closed = closed or name in _CLOSED
    if isinstance(value, dict):
        return {_name(key, closed): _clean(inner, hide, key.lower(), closed) for key, inner in value.items()}
    if isinstance(value, list):
        return [_clean(inner, hide, "", closed) for inner in value]
    if value is None or isinstance(value, bool):
        return value
    return HIDDEN if closed else _shown(name, value, hide)


def _name(key: str, closed: bool) -> str:
    return key if key.lower() in _NAMES or (not closed and _NAME.fullmatch(key)) else HIDDEN


def _shown(name: str, value: object, hide: Sequence[str]) -> object:
    plain = str(value)
    if name in _PROSE and isinstance(value, str):
        for typed in hide:
            plain = re.sub(re.escape(typed), HIDDEN, plain, flags=re.IGNORECASE)
        plain = _GROUPED.sub(HIDDEN, plain[:300])
        return _RUN.sub(lambda run: run[0] if _WORD.fullmatch(run[0]) else HIDDEN, plain)
    if name in _INNER and plain.lstrip()[:1] in ("{", "["):
        return _json(plain, hide) or HIDDEN
    form = _SPOKEN if name in ("code", "type") else _STATE if name in _STATES else _VALUE
    if form.fullmatch(plain) and name in _STATES | _KEPT:
        return plain if isinstance(value, Decimal) else value
    return HIDDEN


def _form(text: str, hide: Sequence[str]) -> str:
    try:
        pairs = urllib.parse.parse_qsl(text, keep_blank_values=True, strict_parsing=True, max_num_fields=64)
    except ValueError:
        pairs = []
    if any(name in _NAMES for name, _ in pairs):
        return "&".join(_field(name.split("[", 1)[0], name, value, hide) for name, value in pairs)
    # What stands where names stand may be a secret as well, unless it is a name that we know.
    return " ".join(dict.fromkeys(name for name in _NAMED.findall(text) if name.lower() in _NAMES))


def _field(base: str, name: str, value: str, hide: Sequence[str]) -> str:
    known = base if base.lower() in _NAMES else HIDDEN
    return f"{known}={_clean(value, hide, base.lower()) if base == name else HIDDEN}"
