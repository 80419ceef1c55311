"""A supplier's card file becomes stock: sealed, fingerprinted, shelved and booked, or refused line by line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from shared.catalog import records as catalog
from shared.catalog.kinds import Fulfilment
from shared.catalog.sku import Sku
from shared.inventory import card_files, codes
from shared.inventory import lots as lot_records
from shared.inventory import records as inventory
from shared.inventory.card_files import REASONS, Shape, Skipped
from shared.inventory.contract import CardImportReport, RefusedRow
from shared.inventory.errors import TooManyRows
from shared.kernel import clock, ids, vault
from shared.kernel.errors import Busy
from shared.kernel.records import LIMIT, Lost, Transaction
from shared.kernel.telemetry import logger
from shared.kernel.vault import LotKey, Secret
from shared.ledger import posting
from shared.ledger import records as ledger

BESIDE = 4  # actions: one entry in the books, and room for what counts the rows
ATTEMPTS = 6  # lost races of one chunk against another import
ROWS_MAX = 10_000  # lines in one request: a third of the 29 s that API Gateway waits
SHOWN = 1_000  # refused rows in the answer, far below the 6 MB that Lambda answers with


@dataclass
class _Tally:
    accepted: int = 0
    by_sku: Counter[str] = field(default_factory=Counter)
    refused: list[tuple[int, str]] = field(default_factory=list)
    skipped: list[tuple[int, str]] = field(default_factory=list)


@dataclass(frozen=True)
class _Import:
    """What all rows of one file share."""

    skus: dict[str, Sku]
    supplier: str
    file_name: str
    now: datetime
    tally: _Tally
    lots: dict[str, tuple[lot_records.Lot, LotKey]] = field(default_factory=dict)

    def lot(self, label: str) -> tuple[lot_records.Lot, LotKey]:
        if label not in self.lots:
            lot_id = ids.new("lot", self.now)
            key = vault.new_lot_key(lot_id)
            lot = lot_records.new_lot(lot_id, label, self.supplier, self.file_name, key.wrapped, key.version, self.now)
            self.lots[label] = (lot, key)
        return self.lots[label]


def import_cards(
    file: bytes, file_name: str, sku: str | None, supplier: str, shape: Shape | None, now: datetime
) -> CardImportReport:
    """Take a card file into stock. A run that died is finished by running the file again: what is in is refused."""
    if file.count(b"\n") > ROWS_MAX:
        raise TooManyRows(limit=ROWS_MAX)
    known = {one.sku: one for one in catalog.everything()} if sku is None else catalog.for_sale([sku])
    stocked = {name: one for name, one in known.items() if one.fulfilment is Fulfilment.STOCK}
    under_way = _Import(stocked, supplier, file_name, now, _Tally())
    rows = card_files.read(
        file,
        file_name=file_name,
        sku=sku,
        as_of=clock.shanghai_day(now),
        sku_days={name: one.validity_days for name, one in stocked.items()},
        shape=shape,
    )
    _take_in(rows, under_way)
    return _report(under_way)


def _take_in(rows: Iterable[card_files.Row], under_way: _Import) -> None:
    waiting: dict[str, list[card_files.Card]] = {}
    size = (LIMIT - BESIDE) // (1 + vault.peppers())  # cards with their fingerprints: 48, half as many between peppers
    for row in rows:
        if isinstance(row, card_files.Card):
            chunk = waiting.setdefault(row.lot or "", [])
            chunk.append(row)
            if len(chunk) == size:
                _store(waiting.pop(row.lot or ""), under_way)
        elif isinstance(row, Skipped):
            under_way.tally.skipped.append((row.line, row.reason))
        else:
            under_way.tally.refused.append((row.line, row.reason))
    for chunk in waiting.values():
        _store(chunk, under_way)


def _store(chunk: Sequence[card_files.Card], under_way: _Import) -> None:
    """Store a chunk in one transaction with its entry in the books; rows that are known already are refused."""
    rest = list(_new_ones(chunk, under_way))
    for _ in range(ATTEMPTS):
        if not rest:
            return
        try:
            _commit(rest, under_way)
            return
        except Lost:
            rest = list(_new_ones(rest, under_way))
    raise Busy


def _new_ones(chunk: Sequence[card_files.Card], under_way: _Import) -> Iterable[card_files.Card]:
    fingerprints = [_fingerprints(row.identity) for row in chunk]
    stored = {one: known.whole for one, known in inventory.stored([x for y in fingerprints for x in y]).items()}
    for row, several in zip(chunk, fingerprints, strict=True):
        known = {stored[one] for one in several if one in stored}
        if not known:
            yield row
        else:
            reason = "number_conflict" if known.isdisjoint(_fingerprints(row.whole)) else "duplicate_in_stock"
            under_way.tally.refused.append((row.line, reason))


def _commit(rows: Sequence[card_files.Card], under_way: _Import) -> None:
    lot, key = under_way.lot(rows[0].lot or "")
    costs: dict[str, list[int]] = {}
    with Transaction() as tx:
        for row in rows:
            sku = under_way.skus[row.sku]
            cost_e6 = sku.cost_e6 if row.cost_e6 is None else row.cost_e6
            card_id = ids.new("crd", under_way.now)
            sealed = vault.seal(key, str(lot.lot_id), card_id, Secret(row.code, row.number))
            card = inventory.new_card(
                card_id, row.sku, lot, sealed, codes.mask(row.code), cost_e6, row.expires_on, sku.shards
            )
            inventory.stock(tx, card, _fingerprints(row.identity), _fingerprints(row.whole))
            costs.setdefault(row.sku, []).append(cost_e6)
        legs = [leg for name, many in costs.items() for leg in posting.lot_bought(under_way.supplier, name, many)]
        ledger.post(tx, "stock_in", legs, under_way.now, lot_id=str(lot.lot_id))
    under_way.tally.accepted += len(rows)
    under_way.tally.by_sku.update(row.sku for row in rows)


def _fingerprints(text: str) -> list[str]:
    return vault.fingerprints(text, codes.NORMAL_FORM)


def _report(under_way: _Import) -> CardImportReport:
    tally = under_way.tally
    logger.info("cards imported", accepted=tally.accepted, refused=len(tally.refused), file_name=under_way.file_name)
    rows = [
        RefusedRow(line=line, reason=reason, zh=REASONS[reason].zh, en=REASONS[reason].en)
        for line, reason in sorted(tally.refused)
    ]
    return CardImportReport(
        accepted=tally.accepted,
        by_sku=dict(sorted(tally.by_sku.items())),
        refused_count=len(rows),
        refused=rows[:SHOWN],
        skipped=len(tally.skipped),
        lots=[str(lot.lot_id) for lot, _ in under_way.lots.values()],
    )
