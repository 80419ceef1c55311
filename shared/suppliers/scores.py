"""Parts of the table `suppliers`: what is remembered of each supplier in each family, his score, and why it changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pynamodb.attributes import JSONAttribute, NumberAttribute, UnicodeAttribute

from shared.kernel import clock, records, settings
from shared.suppliers.scoring import Record, Said, Score

CHANGES_MAX = 20  # of his tier, the latest first
SKUS_MAX = 20  # whose prices speak for the family
_PART = "score#"


class Kept(records.Record):
    """One supplier in one family, which is a category of ours.

    record, score: as `scoring` tells them. began: the score with which the tier began that he has. until: what ended up
    to this moment is in the record. skus: of the family, last bought of him. noticed_at: since when a notice of the
    issuer is open. changes: of the tier, each with its moment and its reason in both languages.
    """

    class Meta(records.Options):
        table_name = settings.table("suppliers")

    code = UnicodeAttribute(hash_key=True)
    part = UnicodeAttribute(range_key=True)
    version = NumberAttribute(default=0)
    record: JSONAttribute = JSONAttribute()
    score: JSONAttribute = JSONAttribute()
    began: JSONAttribute = JSONAttribute()
    until = UnicodeAttribute()
    skus: JSONAttribute = JSONAttribute(default=list)
    noticed_at = UnicodeAttribute(null=True)
    changes: JSONAttribute = JSONAttribute(default=list)

    @property
    def family(self) -> str:
        return str(self.part).removeprefix(_PART)

    @property
    def seen(self) -> Record:
        return Record.parse(self.record)

    @property
    def now(self) -> Score:
        return Score.parse(self.score)


def of(code: str) -> dict[str, Kept]:
    """All that is remembered of a supplier, by family."""
    found = Kept.query(code, Kept.part.startswith(_PART), consistent_read=True)
    return {kept.family: kept for kept in found}


def keep(
    tx: records.Transaction,
    code: str,
    family: str,
    before: Kept | None,
    record: Record,
    score: Score,
    why: Said | None,
    until: datetime,
    now: datetime,
    skus: Sequence[str] = (),
    noticed_at: datetime | None = None,
) -> None:
    """Store what is known now; loses, as ``score``, if somebody has since `before` was read.

    why: of a change of the tier, which then begins anew; None where it is the same.
    """
    changes = list(before.changes) if before else []
    if why:
        tier_before = str(before.now.tier) if before else None
        changes.insert(0, {"at": clock.iso(now), "from": tier_before, "to": str(score.tier), **why._asdict()})
    values = {
        "record": record.json(),
        "score": score.json(),
        "began": score.json() if why or not before else before.began,
        "until": clock.iso(until),
        "skus": list(dict.fromkeys([*skus, *(before.skus if before else ())]))[:SKUS_MAX],
        "changes": changes[:CHANGES_MAX],
        "version": int(before.version) + 1 if before else 1,
    }
    actions = [getattr(Kept, name).set(value) for name, value in values.items()]
    actions.append(Kept.noticed_at.set(clock.iso(noticed_at)) if noticed_at else Kept.noticed_at.remove())
    unmoved = Kept.version == before.version if before else Kept.code.does_not_exist()
    tx.update("score", Kept(code, f"{_PART}{family}"), actions, unmoved)
