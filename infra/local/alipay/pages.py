"""What a buyer sees."""

from __future__ import annotations

from infra.local.alipay.book import OTHER_CURRENCY, Cashier, Pressed, off_by_one
from infra.local.counterparts.pages import Button, Fact, Look, pay_page, said_page, yuan

_LOOK = Look("支付宝模拟收银台", "Alipay simulator", "#1677ff")
_STATES = {
    "WAIT_BUYER_PAY": ("等待付款", "waiting for the buyer"),
    "TRADE_SUCCESS": ("已付款", "paid"),
    "TRADE_FINISHED": ("已付款，已完结", "paid and finished"),
    "TRADE_CLOSED": ("已关闭", "closed"),
}


def cashier_page(cashier: Cashier, seller_id: str, nonce: str) -> bytes:
    """The order, and one button per outcome; only what still can be pressed if it is paid or over."""
    order, trade = cashier.order, cashier.trade
    facts = [Fact("收款方", "Merchant", seller_id), Fact("商户订单号", "Order", order.out_trade_no)]
    if trade is None:
        over = ("已超过付款期限，不能再付款。", "The time to pay is over.")
        return pay_page(_LOOK, order.subject, yuan(order.amount_minor), facts, [], nonce, over)
    facts += [
        Fact("支付宝交易号", "Trade", trade.trade_no),
        Fact("状态", "State", f"{_STATES[trade.status][0]} {trade.status}"),
    ]
    note: tuple[str, str] | None = None
    if trade.is_paid:
        note = ("已付款：不会再次扣款，只会重发通知。", "Paid before: nothing is charged again, only notified again.")
    elif trade.status == "TRADE_CLOSED":
        note = ("交易已关闭，不能再付款。", "The trade is closed and cannot be paid any more.")
    elif trade.pays_at is not None:
        note = ("正在付款。", "The payment is under way.")
    is_over = trade.status == "TRADE_CLOSED" and not trade.is_paid
    off = yuan(off_by_one(order.amount_minor))
    buttons = [
        Button("paid", "确认付款", "Pay"),
        Button("failed", "付款失败：不扣款，交易关闭并通知", "Fail: no charge, the trade is closed and notified"),
        Button("silent", "付款但不通知", "Pay, and notify nobody"),
        Button("twice", "付款并通知两次", "Pay once, notified twice under two notify_ids"),
        Button("out_of_order", "付款，过期的“等待付款”通知后到", "Pay; a stale WAIT_BUYER_PAY notice follows"),
        Button("late", "延迟付款", "Pay after the delay"),
        Button("wrong_amount", f"金额不符：付 {off}", f"Pay a wrong amount: {off}"),
        Button("wrong_currency", f"币种不符：{OTHER_CURRENCY}", f"Pay in another currency: {OTHER_CURRENCY}"),
        Button("other_order", "不付款，通知另一笔订单已付款", "No charge; another order is paid and notified"),
        Button("forged", "不付款，发出伪造的通知", "No charge; a forged notice is sent"),
        Button("sha1", "付款，通知用旧算法 RSA(SHA-1) 签名", "Pay; the notice is signed the old way (RSA, SHA-1)"),
        Button(
            "success_then_refund", "付款后商家在支付宝后台全额退款", "Pay; then all is refunded in Alipay's console"
        ),
    ]
    if is_over:
        buttons = [button for button in buttons if button.outcome in ("other_order", "forged")]
    return pay_page(_LOOK, order.subject, yuan(trade.amount_minor, trade.currency), facts, buttons, nonce, note)


def result_page(pressed: Pressed, address: str, nonce: str) -> bytes:
    """What the button did, for a buyer who is not sent back to the shop."""
    trade = pressed.trade
    zh, en = {
        "failed": ("付款失败，没有扣款", "The payment failed, nothing was charged"),
        "forged": ("已发出伪造的通知，没有扣款", "A forged notice is on its way, nothing was charged"),
        "other_order": ("已通知另一笔订单，本单没有扣款", "Another order was notified, this one was not charged"),
    }.get(pressed.outcome, ("付款成功", "Paid") if trade.is_paid else ("付款处理中", "The payment is under way"))
    if pressed.already_paid:
        zh, en = "此前已付款，没有再次扣款", "Paid before, nothing was charged again"
    facts = [
        Fact("商户订单号", "Order", trade.out_trade_no),
        Fact("支付宝交易号", "Trade", trade.trade_no),
        Fact("金额", "Amount", yuan(trade.amount_minor, trade.currency)),
        Fact("状态", "State", f"{_STATES[trade.status][0]} {trade.status}"),
    ]
    return said_page(_LOOK, zh, en, facts, nonce, back=address)


def refusal_page(code: str, message: str, nonce: str) -> bytes:
    return said_page(_LOOK, message, "This page cannot be shown.", [Fact("错误代码", "Code", code)], nonce)
