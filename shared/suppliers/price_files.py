"""Price lists as suppliers send them: tables in several shapes and encodings, of which each row is read or refused."""

from __future__ import annotations

import csv
import hashlib
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType
from typing import Final, NamedTuple

from shared.kernel.money import MILLION, half_even
from shared.suppliers.supplier import Delivers, Product


class Reason(NamedTuple):
    zh: str
    en: str


REASONS: Final[Mapping[str, Reason]] = MappingProxyType(
    {
        "ambiguous": Reason("同一商品出现多次且内容不同", "The same product is there more than once, and differs"),
        "bad_encoding": Reason("无法识别文件编码", "The encoding of the file is not known"),
        "bad_gzip": Reason("压缩文件损坏", "The compressed file is damaged"),
        "bad_header": Reason("找不到名称列，或进价列（或面值与折扣列）", "No column of names, or none of prices"),
        "bad_name": Reason("名称为空、过长或含有特殊字符", "The name is empty, too long or has odd characters"),
        "bad_price": Reason("价格不是正数", "The price is no positive number"),
        "bad_product": Reason("商品编号为空或不规范", "The product's number is empty or malformed"),
        "bad_quantity": Reason("起购或限购数量不规范", "The least or the greatest quantity is malformed"),
        "bad_state": Reason("不认识的状态", "The state is none that we know"),
        "bad_stock": Reason("不认识的库存", "The stock is none that we know"),
        "broken_row": Reason("此行无法分列，或列数不符", "The row cannot be taken apart, or has other columns"),
        "duplicate": Reason("与前面的行完全相同", "The row is the same as one before it"),
        "other_currency": Reason("币种与供应商账户不同", "The currency is not that of the supplier's account"),
        "too_long": Reason("文件过大", "The file is too large"),
    }
)


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that is not offered. text: as it came, shortened, for the person who has to mend it."""

    line: int
    reason: str
    text: str = field(default="", compare=False)


class Reading(NamedTuple):
    """What a file says. remarks: by product, what he wrote beside it, such as that he takes nothing back."""

    products: list[Product]
    refused: list[Refused]
    remarks: dict[str, str]


class _Unfit(ValueError):
    """Why a row or a file is refused."""


_COLUMNS: Final = {
    alias: column
    for column, aliases in {
        "product": "商品编号 商品编码 商品id 编号 编码 货号 goodsid productid productcode skuid sku id code",
        "name": "名称 商品名称 商品 品名 产品名称 goodsname productname name title product",
        "spec": "规格 面额 规格型号 spec variant",
        "price": "进价 成本 成本价 进货价 供货价 批发价 价格 单价 特价 goodsprice price unitprice cost",
        "face": "面值 官方价 face facevalue",
        "discount": "折扣 折扣率 discount",
        "stock": "库存 库存数 库存数量 stock stocknum stockquantity quantity",
        "state": "状态 上架状态 销售状态 status state",
        "type": "类型 商品类型 发货方式 goodstype type delivery",
        "currency": "币种 货币 currency",
        "least": "起购 起订量 最小购买 startcount min minquantity",
        "most": "限购 最大购买 endcount max maxquantity",
        "remark": "备注 说明 remark note remarks",
    }.items()
    for alias in aliases.split()
}
_ENCODINGS: Final = ("utf-8-sig", "gb18030")
_DELIMITERS: Final = ",\t;|"
_PLENTY: Final = {"充足", "有货", "现货", "大量", "instock", "available", "yes"}  # and he says no number
_NONE: Final = {"无货", "缺货", "售罄", "断货", "没货", "outofstock", "soldout", "no"}
_ON: Final = {"", "在售", "上架", "已上架", "销售", "正常", "onsale", "on", "active", "available", "1"}
_OFF: Final = {"停售", "下架", "已下架", "暂停", "禁售", "维护", "offsale", "off", "inactive", "paused", "0", "2", "3"}
_TYPES: Final = {
    "1": Delivers.CARDS,
    "卡密": Delivers.CARDS,
    "card": Delivers.CARDS,
    "cards": Delivers.CARDS,
    "2": Delivers.TOPUP,
    "虚拟": Delivers.TOPUP,
    "直充": Delivers.TOPUP,
    "topup": Delivers.TOPUP,
}
# A list without a column of types says it in the name, if at all: the person who maps the product has the last word.
_TOPS_UP: Final = re.compile(r"直充|代充|话费|流量")
_PRODUCT: Final = re.compile(r"[\w.-]{1,64}")
_ROUNDED: Final = re.compile(r"[0-9]\.[0-9]+E\+[0-9]+")  # what a spreadsheet leaves of a long number
_NUMBER: Final = re.compile(r"[¥￥]?([0-9]{1,9}(?:\.[0-9]{1,8})?)元?")
_COUNT: Final = re.compile(r"([0-9]{1,9})\+?(?:\.0+)?")
LIST_MAX: Final = 400_000  # bytes, unpacked: more rows than fit into a request however well they are packed
_NAME_MAX: Final = 200
_SHOWN_MAX: Final = 200
_FACTOR_MAX: Final = 2  # a discount is 0.9563; above this somebody has left 折 or % away


def read(content: bytes, currency: str = "CNY") -> Reading:
    """Take a list apart, as it is or as gzip packs it; no content makes it raise. What is wrong with all of it is
    refused in line 1.

    currency: of the supplier's account, in which his prices are. A list without numbers of products gives them the
    digest of the name, so that they stay the same from one list to the next.
    """
    try:
        lines = _decoded(_unpacked(content)).splitlines()
        start, columns, delimiter = _layout(lines)
    except _Unfit as unfit:
        return Reading([], [Refused(1, str(unfit))], {})
    rows: list[tuple[int, str, Product, str]] = []
    refused = []
    for number, line in enumerate(lines[start:], start + 1):
        if not line.strip(delimiter + " \t"):
            continue
        try:
            product, remark = _product(_fields(line, columns, delimiter), currency)
            rows.append((number, line[:_SHOWN_MAX], product, remark))
        except _Unfit as unfit:
            refused.append(Refused(number, str(unfit), line[:_SHOWN_MAX]))
    return _without_repeats(rows, refused)


def _without_repeats(rows: Sequence[tuple[int, str, Product, str]], refused: list[Refused]) -> Reading:
    variants = Counter(product.product for product in {product for _, _, product, _ in rows})
    products: dict[str, Product] = {}
    remarks: dict[str, str] = {}
    for number, line, product, remark in rows:
        if variants[product.product] > 1:  # nobody can say which of them would come
            refused.append(Refused(number, "ambiguous", line))
        elif product.product in products:
            refused.append(Refused(number, "duplicate", line))
        else:
            products[product.product] = product
            if remark:
                remarks[product.product] = remark
    return Reading(list(products.values()), sorted(refused, key=lambda row: row.line), remarks)


def _unpacked(content: bytes) -> bytes:
    if content[:2] == b"\x1f\x8b":
        unpacker = zlib.decompressobj(wbits=31)  # gzip
        try:
            content = unpacker.decompress(content, LIST_MAX + 1)
        except zlib.error:
            raise _Unfit("bad_gzip") from None
        if len(content) <= LIST_MAX and (not unpacker.eof or unpacker.unused_data):
            raise _Unfit("bad_gzip")  # what is cut off, or not looked at, would be taken off sale
    if len(content) > LIST_MAX:
        raise _Unfit("too_long")
    return content


def _decoded(content: bytes) -> str:
    if content[:2] in {b"\xff\xfe", b"\xfe\xff"}:  # as Excel writes "Unicode text"
        encodings: Sequence[str] = ("utf-16",)
    else:
        encodings = _ENCODINGS
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise _Unfit("bad_encoding")


def _layout(lines: Sequence[str]) -> tuple[int, list[str], str]:
    """The first row behind the header, what its columns are ("" where they say nothing to us), and the delimiter."""
    for start, line in enumerate(lines[:10], 1):  # some write a title and a date above the table
        for delimiter in _DELIMITERS:
            columns = [_COLUMNS.get(_key(cell), "") for cell in _cells(line, delimiter)]
            named = [column for column in columns if column]
            priced = "price" in named or {"face", "discount"} <= set(named)
            if "name" in named and priced and len(set(named)) == len(named):
                return start, columns, delimiter
    raise _Unfit("bad_header")


def _key(cell: str) -> str:
    return re.sub(r"[()元:-]", "", _word(cell))


def _cells(line: str, delimiter: str) -> list[str]:
    # Line by line: a quote left open costs its own row, not the rest of the list.
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True), [])
    except csv.Error:
        raise _Unfit("broken_row") from None


def _fields(line: str, columns: Sequence[str], delimiter: str) -> dict[str, str]:
    cells = _cells(line, delimiter)
    if len(cells) < len(columns) or any(cell.strip() for cell in cells[len(columns) :]):
        raise _Unfit("broken_row")
    return {column: _shown(cell) for column, cell in zip(columns, cells, strict=False) if column}


def _product(fields: Mapping[str, str], currency: str) -> tuple[Product, str]:
    title = " ".join(part for part in (fields["name"], fields.get("spec", "")) if part)
    if not fields["name"] or len(title) > _NAME_MAX or not title.isprintable() or title[0] in "=+@":
        raise _Unfit("bad_name")
    if fields.get("currency", "").upper() not in {"", currency}:
        raise _Unfit("other_currency")
    told = _TYPES.get(_word(fields.get("type", "")))
    product = Product(
        product=_number_of(fields, title),
        title=title,
        delivers=told or (Delivers.TOPUP if _TOPS_UP.search(title) else Delivers.CARDS),
        cost_e6=_cost_e6(fields),
        currency=currency,
        stock=_stock(_word(fields.get("stock", ""))),
        on_sale=_on_sale(_word(fields.get("state", ""))),
        least=_count(fields.get("least", ""), "bad_quantity") or 1,
        most=_count(fields.get("most", ""), "bad_quantity") or None,  # 0 is how a shop says that there is no limit
    )
    return product, fields.get("remark", "")[:_SHOWN_MAX]


def _number_of(fields: Mapping[str, str], title: str) -> str:
    if "product" not in fields:
        return "t-" + hashlib.sha256(re.sub(r"\s+", "", title).lower().encode()).hexdigest()[:24]
    if not _PRODUCT.fullmatch(fields["product"]) or _ROUNDED.fullmatch(fields["product"].upper()):
        raise _Unfit("bad_product")
    return fields["product"]


def _cost_e6(fields: Mapping[str, str]) -> int:
    if fields.get("price"):
        cost = _decimal(fields["price"])
    else:
        cost = _decimal(fields.get("face", "")) * _factor(fields.get("discount", ""))
    cost_e6 = half_even(int(cost * MILLION * 10**12), 10**12)
    if cost_e6 <= 0:
        raise _Unfit("bad_price")
    return cost_e6


def _decimal(text: str) -> Decimal:
    if not (match := _NUMBER.fullmatch(text.replace(",", "").replace(" ", ""))):
        raise _Unfit("bad_price")
    return Decimal(match[1])


def _factor(text: str) -> Decimal:
    """What the face value is multiplied by: 0.9563, 95.63% and 9.563折 are the same."""
    factor = _decimal(text.rstrip("%折"))
    if text.endswith("%"):
        factor /= 100
    elif text.endswith("折"):
        factor /= 10 if factor <= 10 else 100
    if factor >= _FACTOR_MAX:
        raise _Unfit("bad_price")
    return factor


def _stock(word: str) -> int | None:
    if not word or word in _PLENTY:
        return None
    return 0 if word in _NONE else _count(word, "bad_stock")


def _on_sale(word: str) -> bool:
    if word not in _ON | _OFF:
        raise _Unfit("bad_state")
    return word in _ON


def _count(text: str, reason: str) -> int | None:
    if not text:
        return None
    if not (match := _COUNT.fullmatch(text.replace(",", ""))):
        raise _Unfit(reason)
    return int(match[1])


def _shown(cell: str) -> str:
    return unicodedata.normalize("NFKC", cell).strip(" \t\r\n\u200b\ufeff")


def _word(cell: str) -> str:
    return re.sub(r"[\s_]", "", _shown(cell).lower())
