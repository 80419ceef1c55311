"""How suppliers sign: one pure function for each scheme, over exactly the text or the bytes that travel.

MD5 and SHA-1 over a shared secret are the suppliers' choice, and no adapter can mend it: whoever sees one plain message
of them can try secrets on it. Signatures are lower-case hex, and compared by `is_signed`, in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

_STAMP = re.compile(r"[0-9]{10}([0-9]{3})?")

Php = str | int | bool | None | Sequence["Php"] | Mapping[str, "Php"]
"""What a field of a PHP form may hold."""


def is_signed(given: str, expected: Iterable[str]) -> bool:
    """Whether what came is one of the signatures that may be, such as those under each key that is still good."""
    return any(hmac.compare_digest(given.encode(errors="replace"), one.encode()) for one in expected)


def is_fresh(stamp: str, now: datetime, within: int) -> bool:
    """Whether a time in seconds, or in milliseconds, as it stands in a signed message is so many seconds from now."""
    return bool(_STAMP.fullmatch(stamp)) and abs(int(stamp[:10]) - now.timestamp()) <= within


def kashangwl(fields: Mapping[str, str], secret: str) -> str:
    """MD5 of the secret and, behind it, each name and value in the order of the names; ``sign`` is not in it.

    A field of an array goes by its whole name, such as ``recharge_template_input_items[QQ]``.
    """
    pairs = (f"{name}{value}" for name, value in sorted(fields.items()) if name != "sign")
    return _md5(secret + "".join(pairs))


def acg(fields: Mapping[str, Php], secret: str) -> str:
    """MD5 of ``name=value&…&key=secret`` as PHP writes and decodes a query: sorted, without ``sign`` and empty texts.

    Only the outermost names are sorted, and only the outermost empty texts are left out: what lies in arrays stays.
    """
    kept = {name: value for name, value in sorted(fields.items()) if name != "sign" and value != ""}
    plain = "&".join(f"{name}={value}" for name, value in _flat(kept))
    return _md5(f"{plain}&key={secret}")


def php_query(fields: Mapping[str, Php]) -> str:
    """What PHP's http_build_query makes of fields: nothing of null and of empty arrays, 1 and 0 of yes and no."""
    return "&".join(f"{_urlencoded(name)}={_urlencoded(value)}" for name, value in _flat(fields))


def fulu(text: str, secret: str) -> str:
    """MD5 of a text's characters, sorted by code point, and the secret. Of an answer the text is its ``result``."""
    return _md5("".join(sorted(text)) + secret)


def fulu_request(params: Mapping[str, object], secret: str) -> str:
    """The signature of a request's params, of which ``sign`` is not one yet."""
    return fulu(php_json({name: value for name, value in params.items() if name != "sign"}), secret)


def php_json(value: object) -> str:
    """What PHP's json_encode writes with slashes and unicode left as they are: no spaces, no lines broken."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")  # these two it escapes all the same


def kasushou(milliseconds: str, body: bytes, key: str) -> str:
    """SHA-1 of the time, the bytes of the body and the key."""
    return hashlib.sha1(milliseconds.encode() + body + key.encode()).hexdigest()  # noqa: S324  # the protocol's


def dujiao(method: str, path: str, seconds: str, body: bytes, secret: str) -> str:
    """HMAC-SHA256 of method, path without its query, time and the MD5 of the body, a line each."""
    digest = hashlib.md5(body).hexdigest()  # noqa: S324  # the protocol's
    return _hmac(secret, f"{method}\n{path}\n{seconds}\n{digest}".encode())


def reloadly(raw: bytes, timestamp: str, secret: str) -> str:
    """HMAC-SHA256 of a webhook's bytes and, behind a colon, the time that it came with."""
    return _hmac(secret, raw + b":" + timestamp.encode())


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()  # noqa: S324  # the protocols'


def _hmac(secret: str, message: bytes) -> str:
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


def _urlencoded(text: str) -> str:
    return urllib.parse.quote_plus(text).replace("~", "%7E")  # which PHP does not let through


def _flat(fields: Mapping[str, Php]) -> Iterator[tuple[str, str]]:
    for name, value in fields.items():
        yield from _named(name, value)


def _named(name: str, value: Php) -> Iterator[tuple[str, str]]:
    match value:
        case None:
            return
        case bool():
            yield name, str(int(value))
        case str() | int():
            yield name, str(value)
        case Mapping():
            for key, inner in value.items():
                yield from _named(f"{name}[{key}]", inner)
        case _:
            for place, inner in enumerate(value):
                yield from _named(f"{name}[{place}]", inner)
