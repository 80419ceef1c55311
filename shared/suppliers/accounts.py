"""The table `suppliers`: who sells to us, how far we trust each, and how each behaves now; their keys lie elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta

from pynamodb.attributes import JSONAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.indexes import GlobalSecondaryIndex, KeysOnlyProjection

from shared.kernel import clock, records, settings
from shared.suppliers.admission import Standing, same
from shared.suppliers.errors import TooManySuppliers, UnknownSupplier
from shared.suppliers.scoring import Tier, Trust
from shared.suppliers.supplier import Account

HEAD = "head"
LISTED = "supplier"
SUPPLIERS_MAX = 200  # one page of the console, one read of the index


class Listing(GlobalSecondaryIndex["Head"]):
    class Meta(records.Options):
        index_name = "listed"
        projection = KeysOnlyProjection()

    listed = UnicodeAttribute(hash_key=True)
    code = UnicodeAttribute(range_key=True)


class Head(records.Record):
    """One supplier.

    stopped: why nothing goes to him until a person has looked, such as ``bad_signature``. paused_by: who set him aside.
    tier: in the family in which he is worst. trust: what his scores say, by family, as `trust_in` tells it. rate_e6:
    what one unit of his currency costs us, in millionths of a yuan. low_minor: below this balance, in minor units of
    his currency, somebody is told. documents_until: the first day on which a document that he needs is over. synced_at:
    when his whole list was last read: older offers do not sell; tried_at: when the schedule last asked for it.
    changed_at: when somebody last said that his list has changed. company: who he is, as his licence says it. brands:
    what he has shown that he may sell → the first day on which he may not any more. reviewed_by, approved_by: the two
    people who let him in. resumed_by: who last took a stop or a pause away. said: why he was set aside.
    """

    class Meta(records.Options):
        table_name = settings.table("suppliers")

    code = UnicodeAttribute(hash_key=True)
    part = UnicodeAttribute(range_key=True, default=HEAD)
    listed = UnicodeAttribute(default=LISTED)
    name = UnicodeAttribute()
    kind = UnicodeAttribute()
    terms: JSONAttribute = JSONAttribute()
    currency = UnicodeAttribute(default="CNY")
    rate_e6 = NumberAttribute(default=1_000_000)
    standing = UnicodeAttribute(default=Standing.APPLIED)
    tier = UnicodeAttribute(default=Tier.B)
    trust: JSONAttribute = JSONAttribute(null=True)
    stopped = UnicodeAttribute(null=True)
    paused_by = UnicodeAttribute(null=True)
    documents_until = UnicodeAttribute(null=True)
    balance_minor = NumberAttribute(null=True)
    balance_at = UnicodeAttribute(null=True)
    low_minor = NumberAttribute(null=True)
    synced_at = UnicodeAttribute(null=True)
    tried_at = UnicodeAttribute(null=True)
    changed_at = UnicodeAttribute(null=True)
    company = UnicodeAttribute(default="")
    brands: JSONAttribute = JSONAttribute(null=True)
    deposit_minor = NumberAttribute(default=0)
    reviewed_by = UnicodeAttribute(null=True)
    reviewed_at = UnicodeAttribute(null=True)
    approved_by = UnicodeAttribute(null=True)
    approved_at = UnicodeAttribute(null=True)
    resumed_by = UnicodeAttribute(null=True)
    resumed_at = UnicodeAttribute(null=True)
    said = UnicodeAttribute(null=True)
    version = NumberAttribute(default=1)
    by_listing = Listing()

    @property
    def account(self) -> Account:
        return Account(str(self.code), str(self.kind), dict(self.terms), str(self.currency))

    def trust_in(self, family: str) -> Trust | None:
        """How far he is trusted in a family of SKUs; None for a newcomer to it."""
        if (told := (self.trust or {}).get(family)) is None:
            return None
        tier, chance, seconds = told
        return Trust(Tier(tier), float(chance), float(seconds))

    @property
    def syncs(self) -> bool:
        """Whether what he sells is read by itself: of everybody who was let in, and is not stopped."""
        return self.standing == Standing.APPROVED and not self.stopped

    def may_buy(self, today: str) -> bool:
        """Whether new purchases may go to him. today: a Shanghai day, as ``2026-11-23``."""
        return (
            self.standing == Standing.APPROVED
            and not self.stopped
            and not self.paused_by
            and (not self.documents_until or str(self.documents_until) > today)
        )

    def may_supply(self, brand: str, today: str) -> bool:
        """Whether what is of this brand may be bought from him: only with an authorisation that is not over."""
        return self.may_buy(today) and self.authorised(brand, today)

    def authorised(self, brand: str, today: str) -> bool:
        """Whether he has shown that he may sell what is of this brand, and still may."""
        return str((self.brands or {}).get(same(brand), "")) > today


def head_of(code: str) -> Head:
    """The supplier as he is now, or UnknownSupplier."""
    try:
        return Head.get(code, HEAD, consistent_read=True)
    except Head.DoesNotExist:
        raise UnknownSupplier from None


def heads(codes: Iterable[str]) -> dict[str, Head]:
    """Those of them that there are."""
    wanted = [(code, HEAD) for code in sorted(set(codes))]
    return {str(head.code): head for head in Head.batch_get(wanted)} if wanted else {}


def every() -> list[Head]:
    """All suppliers, by their codes."""
    codes = [str(found.code) for found in Head.by_listing.query(LISTED, limit=SUPPLIERS_MAX)]
    return [head for _, head in sorted(heads(codes).items())]


def stop(code: str, why: str) -> bool:
    """Send nothing more to him until a person has looked; says whether this is new."""
    try:
        records.update(Head(code), [Head.stopped.set(why)], Head.code.exists() & Head.stopped.does_not_exist())
    except records.Lost:
        return False
    return True


def add(head: Head) -> None:
    """A new supplier; raises Lost if there is one of this code, TooManySuppliers."""
    if sum(1 for _ in Head.by_listing.query(LISTED, limit=SUPPLIERS_MAX)) >= SUPPLIERS_MAX:
        raise TooManySuppliers(limit=SUPPLIERS_MAX)
    records.insert(head, "head")


def change(tx: records.Transaction, head: Head, **values: object) -> None:
    """Write these attributes, without those that are None; loses, as ``head``, if somebody has since he was read.

    What changes by itself, such as his balance, is written without this and is in nobody's way.
    """
    version = int(head.version)
    actions = [Head.version.set(version + 1)]
    for name, value in values.items():
        attribute = getattr(Head, name)
        actions.append(attribute.remove() if value is None else attribute.set(value))
    tx.update("head", Head(str(head.code)), actions, Head.version == version)


def pause(code: str, by: str) -> None:
    """Send nothing more to him; who did so first stays named."""
    with suppress(records.Lost):
        records.update(Head(code), [Head.paused_by.set(by)], Head.code.exists() & Head.paused_by.does_not_exist())


def changed(code: str, now: datetime, apart: timedelta) -> bool:
    """Somebody says that his list has changed; False if that was said less than `apart` ago."""
    before = Head.changed_at.does_not_exist() | (Head.changed_at <= clock.iso(now - apart))
    try:
        records.update(Head(code), [Head.changed_at.set(clock.iso(now))], Head.code.exists() & before)
    except records.Lost:
        return False
    return True


def resume(head: Head, by: str, now: datetime) -> None:
    """Take away a pause and a stop, or raise Lost if he was stopped anew since he was read."""
    seen = Head.stopped == head.stopped if head.stopped else Head.stopped.does_not_exist()
    actions = [
        Head.stopped.remove(),
        Head.paused_by.remove(),
        Head.resumed_by.set(by),
        Head.resumed_at.set(clock.iso(now)),
    ]
    records.update(Head(str(head.code)), actions, Head.code.exists() & seen)
