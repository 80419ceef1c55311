"""Bare pages for a person: Chinese first, English beside it. No script, so that nothing has to be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

_STYLE = """
:root{color-scheme:light dark;--ground:#f0f2f5;--card:#fff;--ink:#18202f;--soft:#5d687c;--line:#e3e7ee}
@media (prefers-color-scheme:dark){:root{--ground:#10141b;--card:#1a202a;--ink:#e9edf4;--soft:#9ba6b8;--line:#2d3644}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"PingFang SC","Microsoft YaHei","Noto Sans CJK SC","WenQuanYi Zen Hei",sans-serif}
main{max-width:30rem;margin:0 auto;padding:1.25rem 1rem 2.5rem}
header{font-weight:600;margin-bottom:.9rem}
section{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:1.3rem;margin-bottom:1rem}
h1{margin:0;font-size:1rem;font-weight:500;color:var(--soft);text-align:center;overflow-wrap:anywhere}
.figure{margin:.2rem 0 1rem;font-size:2.4rem;font-weight:700;text-align:center;font-variant-numeric:tabular-nums}
dl{margin:0;font-size:.85rem;display:grid;grid-template-columns:auto 1fr;gap:.25rem 1rem}
dt,small,footer,label{color:var(--soft)}
dd{margin:0;text-align:right;overflow-wrap:anywhere;font-family:ui-monospace,Menlo,Consolas,monospace}
button{display:block;width:100%;padding:.7rem 1rem;margin-top:.5rem;border:1px solid var(--line);border-radius:10px;
background:none;color:inherit;font:inherit;text-align:left;cursor:pointer}
button:hover{border-color:var(--brand)}
button.main{background:var(--brand);border-color:var(--brand);color:#fff;font-weight:600;text-align:center}
button.main small{color:inherit}
small{display:block;font-size:.8rem;font-weight:400}
input{width:5rem;margin-left:.4rem;font:inherit}
a{color:var(--brand)}
footer{font-size:.8rem;text-align:center}
"""


class Button(NamedTuple):
    outcome: str
    zh: str
    en: str


class Fact(NamedTuple):
    zh: str
    en: str
    value: str


class Look(NamedTuple):
    """The provider's name in both languages, and the colour of its main button."""

    zh: str
    en: str
    brand: str


def yuan(minor: int, currency: str = "CNY") -> str:
    figure = f"{minor // 100:,}.{minor % 100:02d}"
    return f"¥{figure}" if currency == "CNY" else f"{figure} {currency}"


def pay_page(
    look: Look,
    subject: str,
    figure: str,
    facts: Sequence[Fact],
    buttons: Sequence[Button],
    nonce: str,
    note: tuple[str, str] | None = None,
) -> bytes:
    """What is to be paid, and one button per outcome, the first one large; they post `outcome`, `seconds` to itself."""
    first, *others = buttons or [None]
    main = (
        f'<button class="main" name="outcome" value="{escape(first.outcome)}" autofocus>{escape(first.zh)}'
        f"<small>{escape(first.en)}</small></button>"
        if first
        else ""
    )
    rows = "".join(
        f'<button name="outcome" value="{escape(one.outcome)}">{escape(one.zh)}<small>{escape(one.en)}</small></button>'
        for one in others
    )
    more = (
        f'<form method="post"><label>延迟秒数 Delay in seconds<input name="seconds" type="number" min="0" max="86400"'
        f' value="5"></label>{rows}</form>'
        if rows
        else ""
    )
    remark = f"<p>{_both(*note)}</p>" if note else ""
    return _page(
        look,
        f'<section><h1>{escape(subject)}</h1><p class="figure">{escape(figure)}</p>{_facts(facts)}{remark}'
        f'<form method="post">{main}</form></section>' + (f"<section>{more}</section>" if more else ""),
        nonce,
    )


def said_page(look: Look, zh: str, en: str, facts: Sequence[Fact], nonce: str, back: str = "") -> bytes:
    """What a button did, or why it was refused. back: an address for the link below."""
    link = f'<p><a href="{escape(back)}">{_both("返回", "Back")}</a></p>' if back else ""
    inner = f"<section><p><strong>{escape(zh)}</strong><small>{escape(en)}</small></p>{_facts(facts)}{link}</section>"
    return _page(look, inner, nonce)


def _facts(facts: Sequence[Fact]) -> str:
    rows = "".join(f"<dt>{_both(fact.zh, fact.en)}</dt><dd>{escape(fact.value)}</dd>" for fact in facts)
    return f"<dl>{rows}</dl>"


def _both(zh: str, en: str) -> str:
    return f'{escape(zh)} <span lang="en">{escape(en)}</span>'


def _page(look: Look, inner: str, nonce: str) -> bytes:
    return (
        '<!doctype html><html lang="zh"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escape(look.zh)} · {escape(look.en)}</title>"
        f'<style nonce="{nonce}">:root{{--brand:{look.brand}}}{_STYLE}</style></head><body><main>'
        f"<header>{_both(look.zh, look.en)}</header>{inner}"
        f"<footer>{_both('本机模拟，不会动用真钱。', 'A simulator: no real money moves.')}</footer>"
        "</main></body></html>"
    ).encode()
