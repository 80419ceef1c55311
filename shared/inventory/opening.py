"""Opening what is sealed. There is no fallback: what does not open under its own key is shown to nobody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from shared.inventory import lots as lot_records
from shared.inventory import records as inventory
from shared.inventory.errors import CodeUnreadable, LotDestroyed
from shared.inventory.lots import Lot, LotState
from shared.inventory.records import Card
from shared.kernel import vault
from shared.kernel.telemetry import count, logger
from shared.kernel.vault import LotKey, Secret


def opened(cards: Sequence[Card]) -> list[Secret]:
    """The secrets of cards, in their order. LotDestroyed where a key is gone for ever; CodeUnreadable, with an alarm,
    where a ciphertext or a key was altered."""
    lots = lot_records.lots({str(card.lot_id) for card in cards}) if cards else {}
    late = [card for card in cards if _key_left(card, lots)]
    if late:  # its lot got another key between the two readings: the card has been sealed with it meanwhile
        again = {str(card.card_id): card for card in inventory.cards(str(card.card_id) for card in late)}
        cards = [again.get(str(card.card_id), card) for card in cards]
    return [opened_with(lots[str(card.lot_id)], card) for card in cards]


def opened_with(lot: Lot, card: Card) -> Secret:
    """The secret of one card of this lot; refuses as above."""
    if lot.state == LotState.DESTROYED:
        raise LotDestroyed(lot_id=lot.lot_id)
    try:
        key = lot_key(lot, int(card.key_version))
        return vault.unseal(key.plain, str(lot.lot_id), str(card.card_id), key.version, bytes(card.sealed))
    except vault.Tampered:
        raise unreadable(str(lot.lot_id), str(card.card_id)) from None


def lot_key(lot: Lot, version: int) -> LotKey:
    """A key of the lot in clear, or Tampered."""
    wrapped = lot.wrapped(version)
    if wrapped is None:
        raise vault.Tampered(lot.lot_id)
    return LotKey(_plain(str(lot.lot_id), wrapped), wrapped, version)


def unreadable(lot_id: str, card_id: str = "-") -> CodeUnreadable:
    """Wake a person; the refusal to raise."""
    count("CodeUnreadable")
    logger.error("a code does not open", card_id=card_id, lot_id=lot_id)
    return CodeUnreadable()


def _key_left(card: Card, lots: Mapping[str, Lot]) -> bool:
    lot = lots[str(card.lot_id)]
    return lot.state != LotState.DESTROYED and lot.wrapped(int(card.key_version)) is None


@lru_cache(maxsize=1024)  # lots: KMS is asked once for each of a large order's, and a process lives for hours at most
def _plain(lot_id: str, wrapped: bytes) -> bytes:
    return vault.unwrap(lot_id, wrapped)
