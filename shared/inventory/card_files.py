"""Reading suppliers' card files as they come: a stream of bytes in, one row out for every line that says something."""

import csv
import hashlib
import io
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, Protocol

from shared.inventory import codes
from shared.inventory.codes import Unfit

Shape = Literal["code", "number_password"]


class Reason(NamedTuple):
    """Why a row did not become a card, for the person who has to mend the file."""

    zh: str
    en: str


REASONS: Final[Mapping[str, Reason]] = MappingProxyType(
    {
        "ambiguous": Reason(
            "空格两侧可能是卡号和密码，也可能是一个卡密：请指定文件格式",
            "The blanks may part a number from a password or the groups of one code: state the shape of the file",
        ),
        "bad_characters": Reason(
            "卡密只能包含字母、数字和 _ / . : + =", "A code may hold letters, digits and _ / . : + = only"
        ),
        "bad_cost": Reason(
            "成本应为不小于 0 的元金额，最多六位小数", "The cost must be 0 yuan or more, with at most six decimals"
        ),
        "bad_date": Reason(
            "到期日应为 YYYY-MM-DD、YYYY/MM/DD、YYYYMMDD 或 永久",
            "The expiry must be YYYY-MM-DD, YYYY/MM/DD, YYYYMMDD or 永久 (none)",
        ),
        "bad_encoding": Reason(
            "此行既不是 UTF-8 也不是 GBK：请将文件另存为 UTF-8",
            "The line is neither UTF-8 nor GBK: save the file as UTF-8",
        ),
        "bad_header": Reason(
            "表头缺失，或有无法识别、重复的列，或缺少卡密列：文件未读取",
            "The header is missing, has an unknown or repeated column, or none for the code: the file was not read",
        ),
        "bad_lot": Reason(
            "批次最多 64 个可见字符，且不能以 = + - @ 开头",
            "A lot has at most 64 visible characters and does not begin with = + - @",
        ),
        "broken_row": Reason(
            "此行的引号不成对或含有换行", "The quotes of the row do not match, or a line break is inside"
        ),
        "duplicate_in_file": Reason("与本文件前面的一行重复", "The same card stands further up in this file"),
        "duplicate_in_stock": Reason("此卡已入库或已售出", "The card has been imported or sold before"),
        "empty_code": Reason("卡号或卡密为空", "The code or the number is empty"),
        "expired": Reason("卡已过期", "The card has expired"),
        "extra_column": Reason("此行的列数多于应有的列数", "The row has more columns than it should"),
        "formula": Reason(
            "以 = + - @ 开头的内容会被表格软件当作公式", "It begins with = + - @, which a spreadsheet would run"
        ),
        "missing_column": Reason("此行缺少一列，或缺少密码", "The row lacks a column, or the password"),
        "mixed_shape": Reason(
            "此行是卡号加密码，而文件应为每行一个卡密：请指定文件格式或分开导入",
            "The row holds a number and a password where one code is expected: state the shape, or split the file",
        ),
        "number_conflict": Reason("同一卡号已有另一个密码", "The same number is known with another password"),
        "other_sku": Reason("此行的 SKU 不是本次导入的 SKU", "The row names another SKU than the import does"),
        "remark": Reason("以 # 开头的备注行", "A remark: the line begins with #"),
        "rounded_number": Reason(
            "表格软件已把长数字改成科学计数法：请将该列设为文本后重新导出",
            "A spreadsheet has rounded the long number: make the column text and export it again",
        ),
        "too_long": Reason("卡密超过 256 个可见字符", "The code is longer than 256 visible characters"),
        "unknown_sku": Reason("没有这个 SKU", "There is no such SKU"),
    }
)


class Stream(Protocol):
    """Anything that gives bytes piece by piece: an open file, an object in a bucket."""

    def read(self, size: int, /) -> bytes: ...


class Seen(Protocol):
    """What remembers digests: a set, or something that does so outside of memory."""

    def __contains__(self, digest: object, /) -> bool: ...
    def add(self, digest: bytes, /) -> None: ...


@dataclass(frozen=True, slots=True, repr=False)
class Card:
    """A row that may enter the stock, unless the stock knows its identity already."""

    line: int
    sku: str
    code: str
    number: str | None
    normal: str
    normal_number: str | None
    expires_on: date | None
    cost_e6: int | None
    lot: str | None

    @property
    def identity(self) -> str:
        """What must be unique for ever."""
        return codes.identity(self.normal, self.normal_number)

    @property
    def whole(self) -> str:
        """What tells the same pair again from the same number with another password."""
        return codes.whole(self.normal, self.normal_number)

    def __repr__(self) -> str:
        return f"Card(line={self.line}, sku={self.sku!r}, code={codes.mask(self.code)!r})"


class Cells(NamedTuple):
    """A row as it came, for the person who has to mend it: a line that could not be taken apart is all in `code`."""

    code: str
    number: str | None = None
    sku: str = ""
    expires_on: str = ""
    cost: str = ""
    lot: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    line: int
    reason: str
    cells: Cells = field(default=Cells(""), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Skipped:
    line: int
    reason: str


Row = Card | Refused | Skipped


_BLOCK_BYTES: Final = 64 * 1024
_LINE_BYTES_MAX: Final = 16 * 1024  # ten times what a number, a code and a row of columns can need
_SHOWN_BYTES: Final = 1024  # of a line that is given back to be mended
_LOT_CHARACTERS_MAX: Final = 64
_NO_NUMBER: Final = {"无", "none"}
_GROUP_MAX: Final = 6  # codes are printed in groups of three to six; a card number is longer

_COLUMNS: Final = {
    alias: column
    for column, aliases in {
        "sku": "sku skuid skucode sku编码 sku编号 商品编码 规格编码",
        "code": "code cardcode password pin 卡密 密码 卡密码 兑换码 激活码",
        "number": "number cardnumber cardno 卡号 账号 序列号",
        "expires_on": "expireson expires expiry expirydate 到期日 到期日期 到期时间 有效期 有效期至 过期日期 过期时间",
        "cost": "cost cost(cny) 成本 成本(元) 成本价 进价 进货价",
        "lot": "lot batch 批次 批次号",
        "remark": "remark note 备注",
    }.items()
    for alias in aliases.split()
}
_DELIMITERS: Final = ",\t;，"
_NUMBER_LABEL: Final = re.compile(r"(?:卡号|账号|序列号|(?:card )?number|card no)\s*:\s*", re.IGNORECASE)
_CODE_LABEL: Final = re.compile(
    r"(?<![0-9A-Za-z])(?:卡密码|卡密|密码|兑换码|激活码|password|pin|code)\s*:\s*", re.IGNORECASE
)
_DASHES: Final = re.compile(r"-{3,}|—{2,}")
_SEPARATOR: Final = re.compile(r"-{3,}|—{2,}|\t+|[,;|、]")
_NO_EXPIRY: Final = {"永久", "永久有效", "长期有效", "never"}
_DATE: Final = re.compile(r"([0-9]{4})([-/]?)([0-9]{2})\2([0-9]{2})|([0-9]{4})([-/])([0-9]{1,2})\6([0-9]{1,2})")
_YUAN: Final = re.compile(r"¥?([0-9]{1,9}(?:\.[0-9]{1,6})?)")


def read(
    file: bytes | Stream,
    *,
    file_name: str,
    sku: str | None,
    as_of: date,
    sku_days: Mapping[str, int | None],
    shape: Shape | None = None,
    seen: Seen | None = None,
) -> Iterator[Row]:
    """Yield a Card, Refused or Skipped for each line that is not blank or the header; no content makes it raise.

    `sku` is the target of the whole import: rows without one take it, rows with another are refused. `sku_days` names
    every SKU with the days its cards last when a row does not say, None for ever. `shape` says what a line in one piece
    holds; without it, the first 64 KiB decide for the whole file, so that a lost password cannot pass for a code.

    Repeats within the file are refused here; those the stock knows are the caller's business. One line is held at a
    time; `seen` remembers 16 bytes for each card, or twice as many where it has a number.
    """
    stream = io.BytesIO(file) if isinstance(file, bytes) else file
    head = stream.read(_BLOCK_BYTES)
    encodings = _encodings(head)
    fields_of: Callable[[str], Cells] | None = None
    seen = set() if seen is None else seen
    for line, raw in _lines(head, stream):
        cells = None
        try:
            text = _decoded(raw, encodings)
            bare = codes.shown(text)
            if not bare.strip(",; \t"):
                continue
            if bare.startswith("#"):
                yield Skipped(line, "remark")
                continue
            if fields_of is None:
                fields_of, is_header = _layout(text, file_name, shape, head, encodings)
                if is_header:
                    continue
            cells = fields_of(text)
            card = _card(line, cells, sku, as_of, sku_days)
            _refuse_repeats(card, seen)
        except Unfit as unfit:
            yield Refused(line, unfit.reason, cells or Cells(_shortened(raw, encodings)))
            if unfit.reason == "bad_header":
                return  # without knowing the columns, every further row would be a guess
        else:
            yield card


# From bytes to lines


def _lines(head: bytes, stream: Stream) -> Iterator[tuple[int, bytes]]:
    number, rest, block = 0, b"", head
    while block:
        *whole, rest = (rest + block).split(b"\n")
        for raw in whole:
            number += 1
            yield number, raw
        # An endless line is cut, but stays long enough to be refused.
        rest = rest[: _LINE_BYTES_MAX + 1]
        block = stream.read(_BLOCK_BYTES)
    if rest:
        yield number + 1, rest


def _encodings(head: bytes) -> tuple[str, str]:
    """The encoding of the file, then the other one for lines that were pasted in.

    Most lines decide: one broken line must not turn a UTF-8 file into GBK, nor one GBK line that happens to be valid
    UTF-8 the other way. Neither encoding has a line feed inside a character.
    """
    telling = [raw for raw in head.split(b"\n") if not raw.isascii()]
    broken = sum(not _is_utf8(raw) for raw in telling)
    if head.startswith(b"\xef\xbb\xbf") or broken * 2 <= len(telling):
        return "utf-8", "gb18030"
    return "gb18030", "utf-8"


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _decoded(raw: bytes, encodings: tuple[str, str]) -> str:
    if len(raw) > _LINE_BYTES_MAX:
        raise Unfit("too_long")
    for encoding in encodings:
        try:
            return raw.decode(encoding).removeprefix("\ufeff").rstrip("\r")
        except UnicodeDecodeError:
            continue
    raise Unfit("bad_encoding")


def _shortened(raw: bytes, encodings: tuple[str, str]) -> str:
    try:
        return _decoded(raw[:_SHOWN_BYTES], encodings)
    except Unfit:
        return raw[:_SHOWN_BYTES].decode(encodings[0], "replace")


# From lines to fields


def _layout(
    first: str, file_name: str, shape: Shape | None, head: bytes, encodings: tuple[str, str]
) -> tuple[Callable[[str], Cells], bool]:
    """How to take the fields from a line, and whether the first line is a header."""
    for delimiter in _DELIMITERS:
        columns = [_COLUMNS.get(_key(cell)) for cell in _trimmed(_cells(first, delimiter))]
        if {"sku", "code", "number"}.intersection(columns):
            return _table(columns, delimiter, shape), True
        if len(columns) > 1 and file_name.lower().endswith((".csv", ".tsv")):
            raise Unfit("bad_header")
    words = [_COLUMNS.get(_key(word)) for word in re.split(rf"(?:{_SEPARATOR.pattern}|\s)+", codes.shown(first))]
    if words == ["number", "code"]:
        return _text("number_password"), True
    return _text(shape or _usual_shape(head, encodings)), False


def _key(cell: str) -> str:
    return re.sub(r"[\s_]", "", codes.shown(cell).lower())


def _cells(text: str, delimiter: str) -> list[str]:
    # Line by line: a quote left open costs its own row, not the rest of the file.
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True), [])
    except csv.Error:
        raise Unfit("broken_row") from None


def _trimmed(cells: list[str], wanted: int = 1) -> list[str]:
    # Spreadsheets write empty cells as far as the widest row went.
    while len(cells) > wanted and not codes.shown(cells[-1]):
        cells.pop()
    return cells


def _table(columns: list[str | None], delimiter: str, shape: Shape | None) -> Callable[[str], Cells]:
    names = [name for name in columns if name is not None]
    if len(names) < len(columns) or len(set(names)) < len(names) or "code" not in names:
        raise Unfit("bad_header")

    def fields(text: str) -> Cells:
        cells = _trimmed(_cells(text, delimiter), len(names))
        if len(cells) > len(names):
            raise Unfit("extra_column")
        if len(cells) < len(names):
            raise Unfit("missing_column")
        found = dict(zip(names, cells, strict=True))
        found.pop("remark", None)
        row = Cells(**found)
        if row.number is None:
            if shape == "number_password":
                number, code = _number_and_code(codes.shown(row.code), shape)
                return row._replace(number=number, code=code)
            if _DASHES.search(codes.shown(row.code)):
                raise Unfit("mixed_shape")
        return row

    return fields


def _text(shape: Shape | None) -> Callable[[str], Cells]:
    def fields(text: str) -> Cells:
        number, code = _number_and_code(codes.shown(text), shape)
        return Cells(code, number)

    return fields


def _usual_shape(head: bytes, encodings: tuple[str, str]) -> Shape | None:
    pairs = singles = 0
    for raw in head.split(b"\n"):
        try:
            text = codes.shown(_decoded(raw, encodings))
            if not text or text.startswith("#"):
                continue
            number, _ = _number_and_code(text, None)
        except Unfit:
            continue
        pairs += number is not None
        singles += number is None
    if not pairs and not singles:
        return None
    return "number_password" if pairs >= singles else "code"


def _number_and_code(text: str, shape: Shape | None) -> tuple[str | None, str]:
    parts = _parts(text, shape)
    if len(parts) > 2:
        raise Unfit("extra_column")
    if len(parts) == 2:
        if shape == "code":
            raise Unfit("mixed_shape")
        return parts[0], parts[1]
    if shape == "number_password":
        raise Unfit("missing_column")
    return None, parts[0]


def _parts(text: str, shape: Shape | None) -> list[str]:
    if number_label := _NUMBER_LABEL.match(text):
        code_label = _CODE_LABEL.search(text, number_label.end())
        if code_label is None:
            raise Unfit("missing_column")
        return [text[number_label.end() : code_label.start()].rstrip(" \t,;|、-—"), text[code_label.end() :]]
    if code_label := _CODE_LABEL.match(text):
        text = text[code_label.end() :]
    parts = [part.strip() for part in _SEPARATOR.split(text)]
    return parts if len(parts) > 1 else _parts_by_blanks(parts[0], shape)


def _parts_by_blanks(text: str, shape: Shape | None) -> list[str]:
    """A blank parts a number from its password, or the printed groups of one code; if either may be, say so."""
    words = text.split()
    if shape == "code" or len(words) < 2:
        return [text]
    if shape == "number_password" and len(words) == 2:
        return words
    first, *others = map(len, words)
    in_groups = max(others) <= _GROUP_MAX
    if first > _GROUP_MAX and (in_groups or (len(others) == 1 and others[0] != first)):
        return text.split(maxsplit=1)
    if shape is None and first <= _GROUP_MAX and in_groups:
        return [text]
    raise Unfit("ambiguous")


# From fields to cards


def _card(line: int, fields: Cells, sku: str | None, as_of: date, sku_days: Mapping[str, int | None]) -> Card:
    row_sku = codes.shown(fields.sku) or sku
    if sku is not None and row_sku != sku:
        raise Unfit("other_sku")
    if row_sku is None or row_sku not in sku_days:
        raise Unfit("unknown_sku")
    number = None if fields.number is None or codes.shown(fields.number).lower() in _NO_NUMBER else fields.number
    return Card(
        line=line,
        sku=row_sku,
        code=codes.shown(fields.code),
        number=None if number is None else codes.shown(number),
        normal=codes.normal(fields.code),
        normal_number=None if number is None else codes.normal(number),
        expires_on=_expiry(codes.shown(fields.expires_on), as_of, sku_days[row_sku]),
        cost_e6=_cost_e6(codes.shown(fields.cost)),
        lot=_lot(codes.shown(fields.lot)),
    )


def _expiry(text: str, as_of: date, days: int | None) -> date | None:
    if not text:
        return None if days is None else as_of + timedelta(days=days)
    if text.lower() in _NO_EXPIRY:
        return None
    if not (match := _DATE.fullmatch(text)):
        raise Unfit("bad_date")
    year, month, day = (int(part) for part in match.groups() if part and part.isdigit())
    try:
        expires_on = date(year, month, day)
    except ValueError:
        raise Unfit("bad_date") from None
    if expires_on < as_of:
        raise Unfit("expired")
    return expires_on


def _cost_e6(text: str) -> int | None:
    if not text:
        return None
    if not (match := _YUAN.fullmatch(text)):
        raise Unfit("bad_cost")
    return int(Decimal(match[1]) * 1_000_000)


def _lot(text: str) -> str | None:
    if not text:
        return None
    if len(text) > _LOT_CHARACTERS_MAX or text[0] in "=+-@" or not text.isprintable():
        raise Unfit("bad_lot")
    return text


def _refuse_repeats(card: Card, seen: Seen) -> None:
    whole, identity = _digest(card.whole), _digest(card.identity)
    if whole in seen:
        raise Unfit("duplicate_in_file")
    if identity != whole:
        if identity in seen:
            raise Unfit("number_conflict")
        seen.add(identity)
    seen.add(whole)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
