"""The pages that a person sees: front, pay, result, refusal. Chinese and English are both in the page; one is shown."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from infra.local.sandbox.book import Bill, Charge, Pressed, off_by_one

_STYLE = """
:root{color-scheme:light dark;--ground:#eef1f6;--card:#fff;--ink:#18202f;--soft:#5d687c;--line:#e3e7ee;--tint:#f6f8fb;
--brand:#0b6e5f;--brand-ink:#fff;--warn:#8a4b00;--warn-ground:#fff4e0;--bad:#b3261e}
@media (prefers-color-scheme:dark){:root{--ground:#10141b;--card:#1a202a;--ink:#e9edf4;--soft:#9ba6b8;--line:#2d3644;
--tint:#212936;--brand:#3fb8a3;--brand-ink:#06231e;--warn:#ffcf8a;--warn-ground:#3a2b12;--bad:#ff8a80}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"PingFang SC","Microsoft YaHei","Noto Sans CJK SC","WenQuanYi Zen Hei",sans-serif}
html[lang=zh] span[lang=en],html[lang=en] span[lang=zh]{display:none}
[hidden]{display:none!important}
main{max-width:30rem;margin:0 auto;padding:1.25rem 1rem 2.5rem}
header{display:flex;align-items:center;gap:.6rem;margin-bottom:.9rem;font-weight:600}
header svg{width:1.6rem;height:1.6rem;flex:none}
header button{margin-left:auto;border:1px solid var(--line);background:var(--card);color:var(--soft);
border-radius:99px;padding:.2rem .8rem;font:inherit;font-size:.85rem;cursor:pointer}
.card{background:var(--card);border:1px solid var(--line);border-radius:16px;overflow:hidden;
box-shadow:0 1px 2px rgb(16 24 40/.05),0 12px 32px -16px rgb(16 24 40/.18)}
.bill{padding:1.5rem 1.4rem 1.2rem;text-align:center}
h1{margin:0;font-size:1rem;font-weight:500;color:var(--soft);overflow-wrap:anywhere}
.amount{margin:.15rem 0 .3rem;font-size:2.6rem;line-height:1.15;font-weight:700;letter-spacing:-.02em;
font-variant-numeric:tabular-nums}
.left{color:var(--soft);font-size:.9rem;font-variant-numeric:tabular-nums}
.note{margin:.9rem 0 0;padding:.6rem .8rem;border-radius:10px;background:var(--warn-ground);color:var(--warn);
font-size:.9rem;text-align:left}
dl{margin:0;padding:.8rem 1.4rem;border-top:1px solid var(--line);background:var(--tint);font-size:.85rem;
display:grid;grid-template-columns:auto 1fr;gap:.2rem 1rem}
dt{color:var(--soft)}dd{margin:0;text-align:right;overflow-wrap:anywhere;font-variant-numeric:tabular-nums}
code{font:.92em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.main{padding:1.2rem 1.4rem 1.3rem;border-top:1px solid var(--line)}
.pay{display:block;width:100%;padding:.8rem 1rem;border:0;border-radius:12px;background:var(--brand);
color:var(--brand-ink);font:inherit;font-size:1.1rem;font-weight:600;text-align:center;text-decoration:none;
cursor:pointer}
.pay:hover{filter:brightness(1.08)}
.hint{margin:.5rem 0 0;text-align:center;color:var(--soft);font-size:.85rem}
h2{margin:1.6rem .3rem .6rem;font-size:.85rem;font-weight:600;color:var(--soft)}
.rows form+form,.rows form>.row+.row{border-top:1px solid var(--line)}
.row{display:flex;align-items:center;gap:.8rem;width:100%;padding:.75rem 1.1rem;border:0;background:none;color:inherit;
font:inherit;text-align:left;cursor:pointer}
.row:hover{background:var(--tint)}
.row::after{content:"";flex:none;margin-left:auto;width:.5rem;height:.5rem;border:solid var(--soft);
border-width:1.5px 1.5px 0 0;transform:rotate(45deg)}
.row b{display:block;font-weight:600}
.row small{display:block;color:var(--soft);font-size:.85rem;line-height:1.4}
.late{position:relative}
.late .row{padding-right:8.2rem}
.late .row::after{position:absolute;right:1.2rem}
.late label{position:absolute;right:2.4rem;top:50%;transform:translateY(-50%);color:var(--soft);font-size:.85rem}
input{width:3.6rem;padding:.3rem .4rem;border:1px solid var(--line);border-radius:8px;background:var(--card);
color:inherit;font:inherit;font-size:.9rem;text-align:right}
:focus-visible{outline:3px solid color-mix(in srgb,var(--brand) 55%,transparent);outline-offset:2px}
.rows :focus-visible{outline-offset:-3px}
.mark{width:3.6rem;height:3.6rem;margin:0 auto .8rem;border-radius:50%;display:grid;place-items:center;
background:var(--brand);color:var(--brand-ink);font-size:1.8rem;font-weight:700}
.mark.bad{background:var(--bad);color:#fff}.mark.odd{background:var(--warn-ground);color:var(--warn)}
.said{margin:0;color:var(--ink);font-size:1.25rem;font-weight:700}
.then{margin:.4rem 0 0;color:var(--soft);font-size:.95rem}
a{color:var(--brand)}
footer{margin-top:1.2rem;text-align:center;color:var(--soft);font-size:.8rem}
"""

_SCRIPT = """
const root=document.documentElement,
speak=l=>{root.lang=l;document.querySelectorAll('[name=lang]').forEach(i=>i.value=l)};
document.getElementById('tongue').onclick=()=>speak(root.lang==='zh'?'en':'zh');
const left=document.querySelector('[data-left]');
if(left){const end=performance.now()+left.dataset.left*1000,two=n=>String(n).padStart(2,'0'),tick=()=>{
const s=Math.max(0,Math.ceil((end-performance.now())/1000)),h=Math.floor(s/3600);
left.textContent=(h?h+':':'')+two(Math.floor(s/60)%60)+':'+two(s%60);
document.getElementById('open').hidden=!s;document.getElementById('over').hidden=!!s;if(s)setTimeout(tick,250)};tick()}
"""

_LOGO = (
    '<svg viewBox="0 0 32 32" aria-hidden="true"><rect width="32" height="32" rx="9" fill="#0b6e5f"/>'
    '<path d="M8 12.5h16M8 12.5v9.2A1.3 1.3 0 0 0 9.3 23h13.4a1.3 1.3 0 0 0 1.3-1.3v-9.2'
    'M8 12.5 10.2 9h11.6l2.2 3.5M12.5 17.5l2.5 2.5 4.8-4.8" fill="none" stroke="#fff"'
    ' stroke-width="2" stroke-linecap="round" stroke-linejoin="round"/></svg>'
)

_NOTICES = {
    "waiting": ("待商户确认", "waiting for the shop"),
    "acknowledged": ("商户已确认", "acknowledged by the shop"),
    "abandoned": ("已放弃通知", "given up"),
    None: ("不通知", "nobody is told"),
}

_REFUSALS = {
    "bad_signature": (
        "这个付款链接无效",
        "This payment link is not valid",
        "签名与内容不符：链接可能不完整，或被改动过。请回到商店，重新打开付款页。",
        "Its signature does not match: the link may be cut short or changed. Go back to the shop and open it again.",
    ),
    "bad_link": (
        "付款信息有误",
        "This payment request is faulty",
        "签名无误，但内容缺失或无法识别，请联系商店。",
        "It is signed, but something in it is missing or cannot be read. Please tell the shop.",
    ),
    "bad_outcome": (
        "无法识别的操作",
        "That is not one of the buttons",
        "没有扣款。请回到付款页，选择页面上的按钮。",
        "Nothing was charged. Go back and choose one of the buttons.",
    ),
    "conflict": (
        "与原付款单不符",
        "This differs from the first request",
        "同一付款单号曾以其他金额或币种发起。没有扣款，请回到商店重新付款。",
        "The same payment was asked for with another amount or currency. Nothing was charged.",
    ),
}


def front_page(lang: str, nonce: str) -> bytes:
    """For whoever opens the bare address: where pay pages come from."""
    inner = (
        '<div class="card"><div class="bill">'
        f'<h1 class="said">{_say("每个订单有自己的付款页", "Every order has a pay page of its own")}</h1>'
        '<p class="then">'
        + _say("链接随下单结果返回。想试一试，请运行：", "Its link comes with the placed order. To try one, run:")
        + '</p><p class="then"><code>.venv/bin/python -m infra.local.shop buy V006</code></p></div></div>'
    )
    return _page(inner, lang, nonce)


def refusal_page(reason: str, lang: str, nonce: str) -> bytes:
    """Why the link or the button was refused; nothing happened."""
    zh, en, then_zh, then_en = _REFUSALS[reason]
    inner = (
        '<div class="card"><div class="bill"><div class="mark bad" aria-hidden="true">!</div>'
        f'<h1 class="said">{_say(zh, en)}</h1><p class="then">{_say(then_zh, then_en)}</p></div></div>'
    )
    return _page(inner, lang, nonce)


def pay_page(bill: Bill, charges: Sequence[Charge], now: float, lang: str, nonce: str) -> bytes:
    """The bill and one button per outcome."""
    off = amount(off_by_one(bill.amount_minor), bill.currency)
    rows = (
        _row("failed", "支付失败", "Decline", "不扣款，通知商户付款失败。", "No charge; the shop is told it failed."),
        _row(
            "silent",
            "成功但不通知",
            "Pay, tell nobody",
            "扣款一次，从不通知；商户主动查询才知道。",
            "One charge, never notified; the shop learns of it only by asking.",
        ),
        _row(
            "twice",
            "重复支付",
            "Pay twice",
            "扣款两次，两笔都通知；多出的一笔应当退回。",
            "Two charges, both notified; the shop should give one back.",
        ),
        _row(
            "wrong_amount",
            "金额不符",
            "Pay a wrong amount",
            f"扣款 {off}，而不是 {amount(bill.amount_minor, bill.currency)}，并通知商户。",
            f"Charges {off} instead of {amount(bill.amount_minor, bill.currency)}, and notifies the shop.",
        ),
        _row(
            "forged",
            "伪造通知",
            "Forge a notice",
            "不扣款，只发一条签名错误的“已支付”通知；商户应当拒绝。",
            "No charge; sends a “paid” notice with a wrong signature, which the shop should reject.",
        ),
    )
    late = _row(
        "late",
        "延迟到账",
        "Pay late",
        "到时才扣款并通知；此前查询为“处理中”。",
        "Charged and notified only then; until then the shop sees “processing”.",
    )
    hint = (
        ("已付款：不会再扣款，只重发通知。", "Paid before: not charged again, but the shop is notified again.")
        if charges
        else ("扣款一次并通知商户。", "One charge, and the shop is notified.")
    )
    tongue = f'<input type="hidden" name="lang" value="{lang}">'
    inner = (
        f'<div class="card"><div class="bill"><h1>{escape(bill.subject) or _say("订单付款", "Payment")}</h1>'
        f'<p class="amount">{amount(bill.amount_minor, bill.currency)}</p>'
        f"{'' if charges else _time_left(bill, now)}</div>"
        f"{_facts(bill, charges, now)}"
        f'<form method="post" class="main">{tongue}'
        f'<button class="pay" name="outcome" value="paid" autofocus>{_say("支付成功", "Pay")}</button>'
        f'<p class="hint">{_say(*hint)}</p></form></div>'
        f"<h2>{_say('试试别的情形', 'Or try what else can happen')}</h2>"
        f'<div class="card rows"><form method="post">{tongue}{"".join(rows)}</form>'
        # A form of its own: Enter in the number field must press this button and no other.
        f'<form method="post" class="late">{tongue}{late}<label>'
        '<input name="delay_seconds" type="number" value="5" min="0" max="86400" required'
        f' aria-label="延迟秒数 / Delay in seconds"> {_say("秒后", "s")}</label></form></div>'
    )
    return _page(inner, lang, nonce)


def result_page(
    bill: Bill, pressed: Pressed, charges: Sequence[Charge], now: float, link: str, lang: str, nonce: str
) -> bytes:
    """What the button did, and the way back to the shop."""
    kind, mark, said, then = _result(pressed)
    back = (
        f'<a class="pay" href="{escape(bill.return_url)}" autofocus>{_say("返回商店", "Back to the shop")}</a>'
        if bill.return_url
        else ""
    )
    inner = (
        f'<div class="card"><div class="bill"><div class="mark {kind}" aria-hidden="true">{mark}</div>'
        f'<h1 class="said">{_say(*said)}</h1><p class="then">{_say(*then)}</p></div>'
        f"{_facts(bill, charges, now)}"
        f'<div class="main">{back}<p class="hint"><a href="{escape(link)}">'
        + _say("回到付款页，查看通知是否送达", "Back to the pay page, to see if the notice arrived")
        + "</a></p></div></div>"
    )
    return _page(inner, lang, nonce)


def _result(pressed: Pressed) -> tuple[str, str, tuple[str, str], tuple[str, str]]:
    if pressed.outcome == "forged":
        return (
            "odd",
            "?",
            ("已发出伪造通知", "A forged notice is on its way"),
            ("没有扣款。商户应当拒绝它，订单不变。", "Nothing was charged. The shop should reject it."),
        )
    if pressed.already_charged and pressed.outcome in ("failed", "silent"):
        return (
            "odd",
            "=",
            ("此前已付款", "This was paid before"),
            ("没有任何变化。", "Nothing has changed."),
        )
    if pressed.already_charged and not (pressed.outcome == "twice" and len(pressed.charges) == 2):
        return (
            "odd",
            "=",
            ("此前已付款，没有再次扣款", "Paid before: not charged again"),
            ("通知已重新发送。", "The notice is being sent again."),
        )
    return {
        "paid": (
            "",
            "✓",
            ("支付成功", "Paid"),
            ("已扣款一次，正在通知商户。", "One charge; the shop is being notified."),
        ),
        "failed": (
            "bad",
            "✕",
            ("支付失败", "Payment failed"),
            ("没有扣款，正在通知商户。", "Nothing was charged; the shop is being told."),
        ),
        "silent": (
            "",
            "✓",
            ("支付成功，未通知", "Paid, and nobody told"),
            ("已扣款一次；商户主动查询才会知道。", "One charge; the shop learns of it only by asking."),
        ),
        "twice": (
            "odd",
            "×2",
            ("已支付两次", "Paid twice"),
            ("共两笔扣款，都在通知商户。", "Two charges; the shop is being notified of both."),
        ),
        "late": (
            "odd",
            "…",
            ("处理中", "Processing"),
            ("稍后扣款并通知商户。", "It will be charged later, and the shop notified then."),
        ),
        "wrong_amount": (
            "odd",
            "≠",
            ("已按不同金额扣款", "Charged a different amount"),
            ("正在通知商户；金额见下。", "The shop is being notified; the amount is below."),
        ),
    }[pressed.outcome]


def amount(minor: int, currency: str) -> str:
    """¥25.00 for yuan; the code after the figure for other money."""
    figure = f"{minor:,}" if currency in ("JPY", "KRW") else f"{minor // 100:,}.{minor % 100:02d}"
    return f"¥{figure}" if currency == "CNY" else f"{figure} {escape(currency)}"


def _time_left(bill: Bill, now: float) -> str:
    if bill.expires_at is None:
        return ""
    seconds = max(0, round(bill.expires_at.timestamp() - now))
    hours, rest = divmod(seconds, 3600)
    figure = (f"{hours}:" if hours else "") + f"{rest // 60:02d}:{rest % 60:02d}"
    return (
        f'<div id="open" class="left"{"" if seconds else " hidden"}>{_say("剩余时间", "Time left")}'
        f' <span data-left="{seconds}">{figure}</span></div>'
        f'<p id="over" class="note" role="status"{" hidden" if seconds else ""}>'
        + _say(
            "已过付款期限。仍可付款：商户会当作迟到的付款处理，有货则补发，无货则退款。",
            "The time to pay is over. You still can: the shop takes it as a late payment,"
            " and delivers if stock is left or else refunds.",
        )
        + "</p>"
    )


def _facts(bill: Bill, charges: Sequence[Charge], now: float) -> str:
    facts = [
        (_say("商户", "Shop"), escape(bill.merchant)),
        (_say("付款单号", "Payment"), f"<code>{escape(bill.payment_id)}</code>"),
    ]
    for charge in charges:
        if charge.is_made(now):
            state = _say(*_NOTICES[charge.notice])
            back = (
                f"<br>{_say('已退款', 'Refunded')} {amount(charge.refunded_minor, charge.currency)}"
                if charge.refunded_minor
                else ""
            )
        else:
            state, back = _say("尚未扣款", "not charged yet"), ""
        facts.append(
            (
                f"{_say('扣款', 'Charge')} {amount(charge.amount_minor, charge.currency)}",
                f"<code>{charge.provider_no}</code><br>{state}{back}",
            )
        )
    return "<dl>" + "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts) + "</dl>"


def _row(outcome: str, zh: str, en: str, then_zh: str, then_en: str) -> str:
    return (
        f'<button class="row" name="outcome" value="{outcome}"><span><b>{_say(zh, en)}</b>'
        f"<small>{_say(then_zh, then_en)}</small></span></button>"
    )


def _say(zh: str, en: str) -> str:
    return f'<span lang="zh">{zh}</span><span lang="en">{en}</span>'


def _page(inner: str, lang: str, nonce: str) -> bytes:
    title = _say("沙箱收银台", "Sandbox checkout")
    return (
        f'<!doctype html><html lang="{lang}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">'
        f'<title>沙箱收银台 · Sandbox checkout</title><style nonce="{nonce}">{_STYLE}</style></head><body><main>'
        f'<header>{_LOGO}{title}<button id="tongue" type="button" lang="">{_say("English", "中文")}</button></header>'
        f"{inner}<footer>{_say('仅供测试，不会动用真钱。', 'For testing only: no real money moves.')}</footer></main>"
        f'<script nonce="{nonce}">{_SCRIPT}</script></body></html>'
    ).encode()
