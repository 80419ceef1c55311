"""The SKUs as they are stored: one small item each, whole in itself, so that an order reads its SKUs in one call."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from itertools import islice
from typing import Any

from pynamodb.attributes import NumberAttribute, UnicodeAttribute

from shared.catalog.errors import NotForSale, UnknownSku
from shared.catalog.sku import Sku
from shared.catalog.terms import Terms
from shared.kernel import clock, records, settings
from shared.kernel.errors import Busy

CHUNK = records.LIMIT  # SKUs written in one transaction
TRIES = 4  # against other imports of the same SKUs: each loser reads again before it writes

_OWN = frozenset({"sku", "shards", "terms", "version"})  # the key, and what a file does not say
_SAID = tuple(field.name for field in fields(Sku) if field.name not in _OWN)


class StoredSku(records.Record):
    class Meta(records.Options):
        table_name = settings.table("products")

    id = UnicodeAttribute(hash_key=True)
    said = UnicodeAttribute()  # what the file says: JSON under the names of Sku's fields
    terms = UnicodeAttribute(null=True)  # what the operator sets: JSON under the names of Terms' fields
    shards = NumberAttribute(default=1)
    version = NumberAttribute()
    changed_at = UnicodeAttribute()


@dataclass(frozen=True)
class Changes:
    created: int = 0
    changed: int = 0
    unchanged: int = 0

    def __add__(self, more: Changes) -> Changes:
        return Changes(self.created + more.created, self.changed + more.changed, self.unchanged + more.unchanged)


def skus(names: Iterable[str]) -> dict[str, Sku]:
    """The SKUs of these names as they are at this moment; those that do not exist are left out."""
    keys = [_key(name) for name in names]
    return {sku.sku: sku for sku in map(_sku, StoredSku.batch_get(keys, consistent_read=True))}


def for_sale(names: Iterable[str]) -> dict[str, Sku]:
    """The SKUs of these names; UnknownSku or NotForSale names the first, in the given order, that cannot be bought."""
    names = list(names)
    found = skus(names)
    for name in names:
        if name not in found:
            raise UnknownSku(sku=name)
        if not found[name].on_sale:
            raise NotForSale(sku=name)
    return found


def everything() -> Iterator[Sku]:
    """All SKUs, in no order, each as committed when it is read. It reads the whole table: for making snapshots."""
    return map(_sku, StoredSku.scan(consistent_read=True))


def save(wanted: Iterable[Sku], now: datetime) -> Changes:
    """Store what a file says; a SKU that says nothing new is left alone, one that does gets the next version."""
    rest, done = iter(wanted), Changes()
    while chunk := list(islice(rest, CHUNK)):
        done += _save_chunk(chunk, now)
    return done


def compare(wanted: Sequence[Sku]) -> Changes:
    """What `save` would do now."""
    done = Changes()
    for start in range(0, len(wanted), CHUNK):
        chunk = wanted[start : start + CHUNK]
        stored = skus(sku.sku for sku in chunk)
        new = sum(sku.sku not in stored for sku in chunk)
        changed = sum(sku.sku in stored and _said(sku) != _said(stored[sku.sku]) for sku in chunk)
        done += Changes(new, changed, len(chunk) - new - changed)
    return done


def set_terms(sku: str, terms: Terms, now: datetime) -> Sku:
    """Store how a SKU's stock is shared out, or UnknownSku. Its version stays: no price rests on this."""
    return change_terms(sku, lambda _: terms, now)


def change_terms(sku: str, change: Callable[[Terms], Terms], now: datetime) -> Sku:
    """The same where the new terms follow from those that hold at this moment; Busy if others go on changing them."""
    for _ in range(TRIES):
        stored = next(iter(StoredSku.batch_get([_key(sku)], consistent_read=True)), None)
        if stored is None:
            raise UnknownSku(sku=sku)
        found = _sku(stored)
        terms = change(found.terms)
        if terms == found.terms:
            return found
        same = StoredSku.terms == stored.terms if stored.terms else StoredSku.terms.does_not_exist()
        try:
            records.update(
                StoredSku(_key(sku)),
                [
                    StoredSku.terms.set(json.dumps(asdict(terms), separators=(",", ":"))),
                    StoredSku.changed_at.set(clock.iso(now)),
                ],
                same,
            )
        except records.Lost:
            continue
        return replace(found, terms=terms)
    raise Busy


def _save_chunk(wanted: Sequence[Sku], now: datetime) -> Changes:
    for _ in range(TRIES):
        stored = skus(sku.sku for sku in wanted)
        new = [sku for sku in wanted if sku.sku not in stored]
        other = [sku for sku in wanted if sku.sku in stored and _said(sku) != _said(stored[sku.sku])]
        try:
            _write(new, [replace(sku, version=stored[sku.sku].version) for sku in other], clock.iso(now))
        except records.Lost:
            continue
        return Changes(len(new), len(other), len(wanted) - len(new) - len(other))
    raise Busy


def _write(new: Sequence[Sku], other: Sequence[Sku], at: str) -> None:
    if not new and not other:
        return
    with records.Transaction() as tx:
        for sku in new:
            tx.insert(sku.sku, StoredSku(_key(sku.sku), said=_said(sku), version=1, changed_at=at))
        for sku in other:
            tx.update(
                sku.sku,
                StoredSku(_key(sku.sku)),
                [
                    StoredSku.said.set(_said(sku)),
                    StoredSku.version.set(sku.version + 1),
                    StoredSku.changed_at.set(at),
                ],
                StoredSku.version == sku.version,
            )


def _key(sku: str) -> str:
    return f"sku#{sku}"


def _said(sku: Sku) -> str:
    said = {name: getattr(sku, name) for name in _SAID}
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"))


def _sku(stored: StoredSku) -> Sku:
    said = json.loads(stored.said)
    said["tags"] = tuple(said["tags"])
    terms = Terms(**_listed(json.loads(stored.terms))) if stored.terms else Terms()
    return Sku(
        sku=stored.id.removeprefix("sku#"), terms=terms, shards=int(stored.shards), version=int(stored.version), **said
    )


def _listed(terms: dict[str, Any]) -> dict[str, Any]:
    return {**terms, "hidden": tuple(terms.get("hidden", ()))}
