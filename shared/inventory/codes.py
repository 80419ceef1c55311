"""What a code is: how it is shown, when two of them are the same, and which are refused."""

import re
import unicodedata
from typing import Final

NORMAL_FORM: Final = 1
"""The version of the rules below. It is part of every fingerprint: change a rule, raise the number."""

VISIBLE_MAX: Final = 256

# Default-ignorable characters that word processors, chat programs and web pages leave in copied text.
_ZERO_WIDTH: Final = dict.fromkeys(
    [
        *(0x00AD, 0x034F, 0x061C, 0x115F, 0x1160, 0xFEFF),
        *range(0x180B, 0x1810),
        *range(0x200B, 0x2010),
        *range(0x202A, 0x202F),
        *range(0x2060, 0x2070),
        *range(0xFE00, 0xFE10),
    ]
)
# NFKC has already made plain every other blank and the full-width and non-breaking hyphens.
_BLANKS_AND_HYPHENS: Final = re.compile("[ \t\\-\u2010-\u2015\u2212]+")
# Letters are ASCII: a Cyrillic А is a typing error that no redeeming page accepts.
_ALLOWED: Final = re.compile(r"[0-9A-Za-z_/.:+=]+")
# What a spreadsheet leaves of a long number. The digits are lost, so nobody can redeem it.
_ROUNDED: Final = re.compile(r"[0-9]\.[0-9]+E\+[0-9]+")
_PART: Final = "\n"  # no normal form holds it


class Unfit(ValueError):
    """A code or a row that is refused. It carries the reason only, never the text."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def shown(text: str) -> str:
    """The text for people: as it came, without surrounding blanks, zero-width characters and full-width forms."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).translate(_ZERO_WIDTH)
    return text.strip(" \t\r\n")


def normal(text: str) -> str:
    """The form in which two spellings of one code are equal, or raise Unfit."""
    text = shown(text)
    if not text:
        raise Unfit("empty_code")
    if text[0] in "=+-@":
        raise Unfit("formula")
    if len(text) > VISIBLE_MAX:
        raise Unfit("too_long")
    text = _BLANKS_AND_HYPHENS.sub("", text)
    if not text:
        raise Unfit("empty_code")
    if not _ALLOWED.fullmatch(text):
        raise Unfit("bad_characters")
    # A typographic dash in front hid it until now.
    if text[0] in "=+":
        raise Unfit("formula")
    text = text.upper()
    if _ROUNDED.fullmatch(text):
        raise Unfit("rounded_number")
    return text


def identity(normal_code: str, normal_number: str | None = None) -> str:
    """What must be unique for ever: the number of a card that has one, else its code. This is what is fingerprinted."""
    return normal_code if normal_number is None else normal_number


def whole(normal_code: str, normal_number: str | None = None) -> str:
    """All of the secret. Equal identities with equal wholes are a duplicate; with other wholes, a number conflict."""
    return normal_code if normal_number is None else f"{normal_number}{_PART}{normal_code}"


def mask(text: str) -> str:
    """What staff may see of a code or number: the last four characters, and none of a short one.

    Of fewer than twelve, what is left could be guessed.
    """
    return "••••" + (text[-4:] if len(text) >= 12 else "")
