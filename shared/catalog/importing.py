"""Reading a catalogue file: every line becomes one SKU or one named refusal, and no line hides another."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

from shared.catalog import kinds
from shared.catalog.errors import UnreadableFile, WrongColumns
from shared.catalog.sku import Sku
from shared.kernel import money

COLUMNS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "SKU编码": "sku",
        "分类": "category",
        "品牌": "brand",
        "商品名称": "name",
        "规格": "spec",
        "发货方式": "kind",
        "面值(元)": "face",
        "售价(元)": "price",
        "成本(元)": "cost",
        "充值账号字段": "account",
        "有效期(天)": "validity_days",
        "限购": "limit_per_order",
        "标签": "tags",
    }
)

# Characters. Together they keep a SKU's item near 1 kB, the unit in which DynamoDB bills writes.
LONGEST: Final[Mapping[str, int]] = MappingProxyType(
    {"category": 20, "brand": 30, "name": 60, "spec": 60, "account": 120, "tags": 60}
)
LINE_MAX = 4_096  # characters; far below it the csv module would give up by itself
PRICE_MAX = 100_000_000  # minor units: a million yuan for one SKU is a slip of the hand
DAYS_MAX = 36_500
LIMIT_MAX = 10_000


class Reason(NamedTuple):
    """Why a line did not become a SKU, for the person who has to mend the file."""

    zh: str
    en: str


REASONS: Final[Mapping[str, Reason]] = MappingProxyType(
    {
        "bad_account": Reason(
            "充值账号字段应形如 qq:QQ号,region:大区=安卓|苹果", "Account fields look like qq:QQ号,region:大区=安卓|苹果"
        ),
        "bad_character": Reason("含有控制符或不可见字符", "It holds control or invisible characters"),
        "bad_cost": Reason(
            "成本应为不小于 0 的元金额，最多六位小数", "The cost is 0 yuan or more, six decimals at most"
        ),
        "bad_face": Reason("面值应为元金额，最多两位小数，可留空", "The face value is in yuan, two decimals, or empty"),
        "bad_limit": Reason(
            "限购应为 1 至 10000 的整数，可留空", "The limit is a whole number of 1 to 10000, or empty"
        ),
        "bad_price": Reason(
            "售价应为大于 0 的元金额，最多两位小数，不带符号和分隔符",
            "The price is above 0 yuan, two decimals at most, without signs or separators",
        ),
        "bad_sku": Reason(
            "SKU编码只能用字母、数字，中间可有 . _ -，最多 32 个字符",
            "A SKU holds letters, digits and between them . _ -, 32 at most",
        ),
        "bad_validity": Reason("有效期应为 1 至 36500 的整天数，可留空", "Validity is 1 to 36500 whole days, or empty"),
        "category_conflict": Reason("同一商品在前面属于另一分类", "The same product is in another category above"),
        "formula": Reason("文字不能以 = + - @ 开头", "A text must not begin with = + - @"),
        "missing": Reason("分类、品牌或商品名称为空", "The category, the brand or the name is empty"),
        "quotes": Reason("引号没有配对，或单元格内换行", "Quotes do not pair, or a cell holds a line break"),
        "repeated": Reason("此 SKU 在文件前面已经出现", "This SKU stands further up in the file"),
        "too_long": Reason("文字过长", "A text is too long"),
        "unknown_kind": Reason(
            "发货方式应为 card、topup、issued、link、manual 或 booking",
            "The delivery is one of card, topup, issued, link, manual, booking",
        ),
        "wrong_cells": Reason("列数与表头不同", "The line has not as many cells as the header"),
    }
)

_SKU = re.compile(r"[A-Z0-9]([A-Z0-9._-]{0,30}[A-Z0-9])?")
_AMOUNT = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)
_WHOLE = re.compile(r"\d{1,6}", re.ASCII)
_FORMULA = ("=", "+", "-", "@")  # what makes a spreadsheet compute instead of show


class Refused(NamedTuple):
    line: int  # as an editor counts them, the header being 1
    reason: str


@dataclass(frozen=True)
class Reading:
    skus: tuple[Sku, ...]
    refused: tuple[Refused, ...]


class _Unfit(Exception):
    """The argument is a key of REASONS."""


def read(file: bytes) -> Reading:
    """What the file says, line by line; UnreadableFile or WrongColumns if it is no catalogue at all."""
    lines = re.split("\r\n|\n|\r", _decoded(file))
    header = _header(lines[0])
    skus: dict[str, Sku] = {}
    category_of: dict[str, str] = {}
    refused = []
    for number, line in enumerate(lines[1:], start=2):
        try:
            cells = _cells(line)
            if not any(cells):
                continue
            if len(cells) != len(header):
                raise _Unfit("wrong_cells")
            sku = _sku(dict(zip(header, cells, strict=True)))
            if sku.sku in skus:
                raise _Unfit("repeated")
            if category_of.setdefault(sku.product_id, sku.category) != sku.category:
                raise _Unfit("category_conflict")
        except _Unfit as unfit:
            refused.append(Refused(number, str(unfit)))
        else:
            skus[sku.sku] = sku
    return Reading(tuple(skus.values()), tuple(refused))


def _decoded(file: bytes) -> str:
    for encoding in ("utf-8-sig", "gb18030"):  # GB 18030 reads GBK and GB 2312 too
        try:
            return file.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise UnreadableFile


def _header(line: str) -> Sequence[str]:
    try:
        names = [unicodedata.normalize("NFKC", cell) for cell in _cells(line)]
    except _Unfit:
        raise UnreadableFile from None
    missing = [name for name in COLUMNS if name not in names]
    repeated = [name for name in COLUMNS if names.count(name) > 1]
    if missing or repeated:
        raise WrongColumns(missing=missing, repeated=repeated)
    return [COLUMNS.get(name, f"other {place}") for place, name in enumerate(names)]


def _cells(line: str) -> list[str]:
    # One line at a time: an open quote spoils its own line and does not swallow those that follow.
    if len(line) > LINE_MAX:
        raise _Unfit("too_long")
    try:
        return [cell.strip() for cell in next(csv.reader([line], strict=True), [])]
    except csv.Error:
        raise _Unfit("quotes") from None


def _sku(cells: Mapping[str, str]) -> Sku:
    sku = unicodedata.normalize("NFKC", cells["sku"]).upper()
    if not _SKU.fullmatch(sku):
        raise _Unfit("bad_sku")
    for name, longest in LONGEST.items():
        _check_text(cells[name], longest)
    if not (cells["category"] and cells["brand"] and cells["name"]):
        raise _Unfit("missing")
    if cells["kind"] not in kinds.KINDS:
        raise _Unfit("unknown_kind")
    price = _amount(cells["price"], money.parse_minor, PRICE_MAX, "bad_price")
    if price == 0:
        raise _Unfit("bad_price")
    return Sku(
        sku=sku,
        category=cells["category"],
        brand=cells["brand"],
        name=cells["name"],
        spec=cells["spec"],
        kind=cells["kind"],
        face_minor=_amount(cells["face"], money.parse_minor, PRICE_MAX, "bad_face") if cells["face"] else None,
        price_minor=price,
        cost_e6=_amount(cells["cost"], money.parse_e6, PRICE_MAX * money.E6_PER_MINOR, "bad_cost"),
        account=_account(cells["account"]),
        validity_days=_whole(cells["validity_days"], DAYS_MAX, "bad_validity"),
        limit_per_order=_whole(cells["limit_per_order"], LIMIT_MAX, "bad_limit"),
        tags=_tags(cells["tags"]),
    )


def _check_text(text: str, longest: int) -> None:
    if len(text) > longest:
        raise _Unfit("too_long")
    if unicodedata.normalize("NFKC", text).lstrip().startswith(_FORMULA):
        raise _Unfit("formula")
    if any(unicodedata.category(letter) in {"Cc", "Cf", "Cs", "Co"} for letter in text):
        raise _Unfit("bad_character")


def _amount(text: str, parse: Callable[[str], int], most: int, reason: str) -> int:
    if not _AMOUNT.fullmatch(text):  # narrower than a Decimal: no exponents, no underscores, no signs
        raise _Unfit(reason)
    try:
        amount = parse(text)
    except ValueError:
        raise _Unfit(reason) from None
    if amount > most:
        raise _Unfit(reason)
    return amount


def _whole(text: str, most: int, reason: str) -> int | None:
    if not text:
        return None
    if not _WHOLE.fullmatch(text) or not 1 <= int(text) <= most:
        raise _Unfit(reason)
    return int(text)


def _account(text: str) -> str:
    try:
        fields = kinds.account_fields(text)
    except ValueError:
        raise _Unfit("bad_account") from None
    for field in fields:
        for part in (field.label, *field.options):
            _check_text(part, LONGEST["account"])
    return text


def _tags(text: str) -> tuple[str, ...]:
    tags = tuple(dict.fromkeys(tag.strip() for tag in re.split("[,，]", text) if tag.strip()))
    for tag in tags:
        _check_text(tag, LONGEST["tags"])
    return tags
