"""The chart of accounts: nothing can be posted to an account that is not here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache


class Type(StrEnum):
    ASSET = "asset"
    LIABILITY = "liability"
    INCOME = "income"
    EXPENSE = "expense"


class Side(StrEnum):
    DEBIT = "debit"
    CREDIT = "credit"


class UnknownAccount(Exception):
    """A programme named an account that the chart does not have."""


@dataclass(frozen=True)
class Account:
    """`side` is where its balance normally stands; `column` is where a statement shows it, if in its profit;
    `in_transit` marks money that has come or must go and is not ours to keep yet."""

    name: str
    type: Type
    side: Side
    zh: str
    en: str
    column: str | None = None
    in_transit: bool = False


RECEIVABLE, PAYABLE = "receivable", "payable"  # families: one account for each provider, one for each supplier
DEPOSITS = "deposits"
SUSPENSE = "suspense"
REFUNDS_DUE = "refunds_due"
BANK = "bank"
INVENTORY = "inventory"
REVENUE = "revenue"
REFUNDS = "refunds"
COST_OF_GOODS = "cogs"
FEES = "fees"
ROUNDING = "rounding"
WRITE_OFFS = "write_offs"

_FAMILIES = {
    RECEIVABLE: Account(
        RECEIVABLE, Type.ASSET, Side.DEBIT, "应收支付渠道", "Receivable from payment provider", in_transit=True
    ),
    PAYABLE: Account(PAYABLE, Type.LIABILITY, Side.CREDIT, "应付供应商", "Payable to supplier"),
}
_SINGLE = {
    account.name: account
    for account in (
        Account(DEPOSITS, Type.LIABILITY, Side.CREDIT, "买家预付款", "Buyer deposits", in_transit=True),
        Account(SUSPENSE, Type.LIABILITY, Side.CREDIT, "待查款项", "Suspense", in_transit=True),
        Account(REFUNDS_DUE, Type.LIABILITY, Side.CREDIT, "应退款", "Refunds due", in_transit=True),
        Account(BANK, Type.ASSET, Side.DEBIT, "银行账户", "Bank account"),
        Account(INVENTORY, Type.ASSET, Side.DEBIT, "库存", "Inventory"),
        Account(REVENUE, Type.INCOME, Side.CREDIT, "销售收入", "Sales", column="sales"),
        Account(REFUNDS, Type.INCOME, Side.DEBIT, "销售退款", "Refunds of sales", column="refunds"),
        Account(COST_OF_GOODS, Type.EXPENSE, Side.DEBIT, "销售成本", "Cost of goods sold", column="cost"),
        Account(FEES, Type.EXPENSE, Side.DEBIT, "支付手续费", "Payment fees", column="fees"),
        Account(ROUNDING, Type.EXPENSE, Side.DEBIT, "舍入差额", "Rounding differences", column="rounding"),
        Account(WRITE_OFFS, Type.EXPENSE, Side.DEBIT, "库存报废", "Stock written off", column="write_offs"),
    )
}


def of(family: str, party: str) -> str:
    """The name of one member of a family, such as ``receivable:sandbox``."""
    return f"{family}:{party}"


@lru_cache(maxsize=256)  # a statement asks once for each leg of a day
def account(name: str) -> Account:
    """The account of this name, or UnknownAccount."""
    family, _, party = name.partition(":")
    if party and family in _FAMILIES:
        known = _FAMILIES[family]
        return replace(known, name=name, zh=f"{known.zh} {party}", en=f"{known.en} {party}")
    if name not in _SINGLE:
        raise UnknownAccount(name)
    return _SINGLE[name]
