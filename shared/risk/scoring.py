"""Facts in, verdict and reasons out. Denied goes before allowed, allowed before limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple


class Outcome(StrEnum):
    CLEARED = "cleared"
    REVIEW = "review"
    REFUSED = "refused"


class Reason(NamedTuple):
    zh: str
    en: str


REASONS: Mapping[str, Reason] = MappingProxyType(
    {
        "contact_denied": Reason("联系方式在黑名单中", "The contact is on the deny list"),
        "address_denied": Reason("IP 地址在黑名单中", "The address is on the deny list"),
        "allowed": Reason("在白名单中", "On the allow list"),
        "large_amount": Reason("订单金额较大", "The amount is large"),
        "contact_velocity": Reason("该联系方式今日下单过多", "Many orders by this contact today"),
        "address_velocity": Reason("该 IP 今日下单过多", "Many orders from this address today"),
        "contact_amount": Reason("该联系方式今日金额过大", "A large sum by this contact today"),
        "review_overdue": Reason("人工审核超时，自动退款", "Nobody decided in time; the money goes back"),
    }
)


@dataclass(frozen=True)
class Limits:
    """Above these a person decides. Defaults suit a small shop; each is a setting."""

    order_minor: int = 100_000
    contact_orders_per_day: int = 20
    contact_minor_per_day: int = 300_000
    address_orders_per_day: int = 60


@dataclass(frozen=True)
class Features:
    """What is known of a paid order; the counts include it, and are 0 where contact or address say nothing."""

    total_minor: int
    contact_orders: int
    contact_minor: int
    address_orders: int
    contact_listed: str | None = None  # deny | allow
    address_listed: str | None = None


@dataclass(frozen=True)
class Verdict:
    outcome: Outcome
    reasons: tuple[str, ...] = ()


def decide(features: Features, limits: Limits) -> Verdict:
    listed = {"contact": features.contact_listed, "address": features.address_listed}
    denied = tuple(f"{what}_denied" for what, verdict in listed.items() if verdict == "deny")
    if denied:
        return Verdict(Outcome.REFUSED, denied)
    if features.contact_listed == "allow":  # an address is shared by many, so it is never reason enough to trust
        return Verdict(Outcome.CLEARED, ("allowed",))
    exceeded = {
        "large_amount": features.total_minor > limits.order_minor,
        "contact_velocity": features.contact_orders > limits.contact_orders_per_day,
        "contact_amount": features.contact_minor > limits.contact_minor_per_day,
        "address_velocity": features.address_orders > limits.address_orders_per_day,
    }
    reasons = tuple(reason for reason, too_much in exceeded.items() if too_much)
    return Verdict(Outcome.REVIEW if reasons else Outcome.CLEARED, reasons)
