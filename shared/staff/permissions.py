"""Which role may do what. A role is a Cognito group of the same name; a route names the permission it asks for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from shared.kernel.errors import NotAllowed

OWNER, OPERATOR, FINANCE, AUDITOR = ROLES = ("owner", "operator", "finance", "auditor")

_EVERYONE = frozenset(ROLES)
_SHOP = frozenset({OWNER, OPERATOR})
_MONEY = frozenset({OWNER, FINANCE})

MATRIX = {
    "catalogue.read": _EVERYONE,
    "catalogue.write": _SHOP,
    "cards.read": _EVERYONE,  # counts and masks, never codes
    "cards.import": _SHOP,
    "cards.reveal": _SHOP,  # each use is an event with a reason
    "orders.read": _EVERYONE,
    "reviews.read": _EVERYONE,
    "reviews.decide": _SHOP,
    "refunds.create": _SHOP | _MONEY,
    "tasks.close": _SHOP | _MONEY,
    "refunds.by_hand": _MONEY,  # it says that money has left the bank
    "risk.read": _EVERYONE,
    "risk.lists": _SHOP,
    "settlement.read": _EVERYONE - {OPERATOR},  # cost and profit are not the shop floor's business
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


def require(groups: Iterable[str], permission: str) -> None:
    """Raise NotAllowed unless one of the groups is a role that may do this."""
    if MATRIX[permission].isdisjoint(groups):
        raise NotAllowed
