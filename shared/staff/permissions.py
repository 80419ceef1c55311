"""Which role may do what. A role is a Cognito group of the same name; a route names the permission it asks for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from shared.kernel.errors import NotAllowed

OWNER, OPERATOR, FINANCE, AUDITOR, SUPPORT = ROLES = ("owner", "operator", "finance", "auditor", "support")

_EVERYONE = frozenset(ROLES)
_SHOP = frozenset({OWNER, OPERATOR})
_MONEY = frozenset({OWNER, FINANCE})
_OWNER = frozenset({OWNER})

MATRIX = {
    "catalogue.read": _EVERYONE,
    "catalogue.write": _SHOP,
    "cards.read": _EVERYONE,  # counts and masks, never codes
    "buyers.find": _SHOP | {SUPPORT},  # by a contact, which is answered with masks
    "cards.import": _SHOP,
    "cards.reveal": _SHOP | {SUPPORT},  # one at a time, with a reason, counted; each use is an event
    "cards.recall": _SHOP,
    "cards.export": _SHOP,  # asking for it; another person approves
    "exports.approve": _OWNER,
    "views.read": frozenset({OWNER, AUDITOR}),  # what a member of staff has looked at
    "stock.write": _SHOP,
    "channels.write": _OWNER,  # it gives out a credential
    "keys.rotate": _OWNER,
    "lots.destroy": _OWNER,  # asking for it; another owner approves
    "merchants.read": _EVERYONE - {SUPPORT},  # terms and health, never keys
    "merchants.write": _OWNER,  # it says where buyers' money goes
    "suppliers.read": _EVERYONE - {SUPPORT},  # what we pay, and whose papers we hold
    "suppliers.write": _SHOP,  # accounts, keys, documents, the first look; another person approves
    "offers.read": _EVERYONE - {SUPPORT},
    "offers.write": _SHOP,  # what is bought for a SKU, and of whom first
    "purchases.read": _EVERYONE - {SUPPORT},
    "purchases.write": _SHOP,  # what a person has bought, or found out
    "accounts.reveal": _SHOP,  # of a top-up that is bought by hand, with a reason; each use is an event
    "suppliers.approve": _MONEY,  # it says to whom our money goes
    "orders.read": _EVERYONE,
    "reviews.read": _EVERYONE,
    "reviews.decide": _SHOP,
    "refunds.create": _SHOP | _MONEY,
    "tasks.close": _SHOP | _MONEY,
    "refunds.by_hand": _MONEY,  # it says that money has left the bank
    "payments.confirm": _SHOP | _MONEY,  # saying that money came; another person approves
    "payments.approve": _MONEY,
    "risk.read": _EVERYONE,
    "risk.lists": _SHOP,
    "settlement.read": _EVERYONE - {OPERATOR, SUPPORT},  # cost and profit are not the shop floor's business
    "settlement.close": _MONEY,
}


@dataclass(frozen=True)
class Permission:
    """What a route asks of its caller: the name of an act, and the roles that may do it."""

    name: str
    roles: frozenset[str]


def may(permission: str) -> Permission:
    """The permission of that name; an unknown name raises KeyError when the door is loaded, not when it is used."""
    return Permission(permission, MATRIX[permission])


def allowed(groups: Iterable[str], permission: str) -> bool:
    """Whether one of the groups is a role that may do this."""
    return not MATRIX[permission].isdisjoint(groups)


def require(groups: Iterable[str], permission: str) -> None:
    """Raise NotAllowed unless one of the groups is a role that may do this."""
    if not allowed(groups, permission):
        raise NotAllowed
