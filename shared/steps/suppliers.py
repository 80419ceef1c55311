"""Our accounts with suppliers, as operators set them up and staff see them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from shared.kernel import clock
from shared.kernel.errors import Busy
from shared.kernel.http import Amount, Caller
from shared.kernel.money import MILLION
from shared.kernel.records import Lost, Transaction
from shared.kernel.telemetry import logger
from shared.steps import supplier_tasks
from shared.steps.partner_terms import NAME, Wrong, insist, wrong_names
from shared.suppliers import accounts, balances, documents, purchases, registry, supplier_keys, wire
from shared.suppliers.accounts import Head
from shared.suppliers.admission import ENDLESS, Dossier, Standing
from shared.suppliers.contract import (
    BrandView,
    DocumentView,
    GiveSupplierKeys,
    SaveSupplier,
    SupplierChecked,
    SupplierDossier,
    SupplierList,
    SupplierView,
)
from shared.suppliers.documents import Document, DocumentState
from shared.suppliers.errors import OrdersOut, SupplierRefused, SupplierSilent, UnknownSupplier
from shared.suppliers.kinds import KINDS, TRAIT, wrong_traits
from shared.suppliers.supplier import Account, Keys

YUAN = "CNY"
# Terms that say neither who we are to a supplier nor where he is: one who is asked after them knows our orders still.
HARMLESS_TERMS = frozenset({"callback_path", "card_cipher", "definite_codes", "refusals", "sender"})


def every(caller: Caller, now: datetime) -> SupplierList:
    """All of them, by their codes."""
    return SupplierList(suppliers=[_view(head, caller, now) for head in accounts.every()])


def show(code: str, caller: Caller, now: datetime) -> SupplierDossier:
    """One of them, with what he has shown; UnknownSupplier."""
    head, kept = accounts.head_of(code), documents.every(code)
    dossier = dossier_of(head, kept)
    holding = {one.document_id for one in dossier.deciding()}
    return SupplierDossier(
        supplier=_view(head, caller, now),
        key_sets=len(supplier_keys.fresh(code)),
        missing=[str(paper) for paper in dossier.missing(clock.shanghai_day(now))],
        documents=[_document(one, one.document_id in holding) for one in kept],
    )


def save(code: str, wanted: SaveSupplier, caller: Caller, now: datetime) -> SupplierDossier:
    """Add a supplier, or change his terms; his kind and his currency stay what they are.

    OrdersOut where we would be somebody else to him, or he another one, while he has orders of ours: he would be asked
    for orders that he does not know, and they would be bought again.
    Where what was looked at changes (who he is, where we buy, what is relied on, how much he has left with us), two
    people have to look again.
    """
    before = _known(code)
    account = Account(code, wanted.kind, wanted.terms, wanted.currency)
    kind = KINDS[wanted.kind]
    plain = {name for name in wanted.terms if not name.startswith(TRAIT)}
    insist(
        [
            *([("supplier", "not_a_name")] if not NAME.fullmatch(code) else []),
            *wrong_names("terms", plain, kind.terms, kind.more_terms),
            *[(f"terms.{name}", reason) for name, reason in wrong_traits(wanted.terms)],
            *([("kind", "cannot_change")] if before and before.kind != wanted.kind else []),
            *([("currency", "cannot_change")] if before and before.currency != wanted.currency else []),
            *([("rate_e6", reason)] if (reason := _wrong_rate(wanted)) else []),
        ]
    )
    insist(_unfit(account, supplier_keys.fresh(code), "terms"))
    values: dict[str, Any] = {
        "name": wanted.name,
        "company": wanted.company,
        "terms": dict(wanted.terms),
        "rate_e6": wanted.rate_e6 or MILLION,
    }
    if "low_minor" in wanted.model_fields_set:
        values["low_minor"] = wanted.low_minor
    if "deposit_minor" in wanted.model_fields_set:
        values["deposit_minor"] = wanted.deposit_minor or 0
    try:
        if before is None:
            head = Head(code, kind=wanted.kind, currency=wanted.currency, **values)
            head.documents_until = dossier_of(head, ()).until(clock.shanghai_day(now)).isoformat()
            accounts.add(head)
        else:
            _change(before, values, now)
    except Lost:
        raise Busy from None
    registry.forget()
    logger.info("supplier saved", supplier=code, by=caller.name)
    return show(code, caller, now)


def give_keys(code: str, given: GiveSupplierKeys, caller: Caller, now: datetime) -> SupplierDossier:
    """New keys: they sign from now on, and what is signed with those before stays right until they are retired."""
    account = accounts.head_of(code).account
    kind = KINDS[account.kind]
    insist(wrong_names("keys", given.keys, kind.keys, kind.more_keys))
    insist(_unfit(account, (given.keys,), "keys"))
    supplier_keys.add(code, given.keys)
    registry.forget()
    logger.info("supplier has new keys", supplier=code, by=caller.name)
    return show(code, caller, now)


def retire_keys(code: str, caller: Caller, now: datetime) -> SupplierDossier:
    """Only the newest keys stay valid; saying so again changes nothing.

    OrdersOut where the older ones are of another name and he has orders of ours: it is under that name that he knows
    them.
    """
    accounts.head_of(code)
    known = supplier_keys.fresh(code)
    if len(known) > 1:
        if len({keys.get("api_key") for keys in known}) > 1 and purchases.out_with(code):
            raise OrdersOut
        supplier_keys.retire(code)
        registry.forget()
        logger.info("older keys of a supplier retired", supplier=code, by=caller.name)
    return show(code, caller, now)


def check(code: str, now: datetime) -> SupplierChecked:
    """Ask for our balance, as the account is now: a signed answer proves address, terms and keys."""
    head, keys = accounts.head_of(code), supplier_keys.fresh(code)
    account = head.account
    if not keys and KINDS[account.kind].keys:
        raise UnknownSupplier  # nobody to ask as
    supplier = registry.made(account, keys)
    began, refused, balance = time.monotonic(), None, None
    try:
        balance = balances.of(supplier, head, now)
        balances.show(code, balance.minor, now)
    except SupplierRefused as refusal:
        refused = str(refusal.facts.get("reason", ""))
    except SupplierSilent:
        pass
    return SupplierChecked(
        supplier=code,
        answers=balance is not None,
        refused=refused,
        balance=Amount(amount_minor=balance.minor, currency=balance.currency) if balance else None,
        took_ms=round((time.monotonic() - began) * 1000),
    )


def pause(code: str, caller: Caller, now: datetime) -> SupplierDossier:
    """Send no new purchases to him; saying so again changes nothing."""
    accounts.head_of(code)
    accounts.pause(code, caller.name)
    logger.info("supplier paused", supplier=code, by=caller.name)
    return show(code, caller, now)


def resume(code: str, caller: Caller, now: datetime) -> SupplierDossier:
    """Take a pause and a stop away: somebody has looked. He gets purchases again if he is admitted."""
    head = accounts.head_of(code)
    if head.stopped or head.paused_by:
        try:
            accounts.resume(head, caller.name, now)
        except Lost:
            raise Busy from None  # he was stopped anew: that, too, has to be looked at
        logger.info("supplier resumed", supplier=code, by=caller.name, stopped=head.stopped)
    supplier_tasks.over(supplier_tasks.STOPPED, code, caller.name, "resumed", now)
    return show(code, caller, now)


def dossier_of(head: Head, kept: list[Document] | tuple[()]) -> Dossier:
    """What he has shown, as `admission` judges it."""
    return Dossier(str(head.company), bool(int(head.deposit_minor)), documents.shown(kept))


def from_dossier(dossier: Dossier, today: date) -> dict[str, object]:
    """What his head says of his documents: they are always written together."""
    return {
        "documents_until": dossier.until(today).isoformat(),
        "brands": {brand: until.isoformat() for brand, until in dossier.brands().items()},
    }


def _known(code: str) -> Head | None:
    try:
        return accounts.head_of(code)
    except UnknownSupplier:
        return None


def _change(before: Head, values: dict[str, Any], now: datetime) -> None:
    """Write what is new, and what follows from it for his documents and his standing."""
    deposit = values.get("deposit_minor", int(before.deposit_minor))
    if _whom(before.terms) != _whom(values["terms"]) and purchases.out_with(str(before.code)):
        raise OrdersOut
    looked_at = (before.terms, before.company) == (values["terms"], values["company"])
    if not looked_at or deposit < int(before.deposit_minor) or before.standing == Standing.REFUSED:
        values = values | {"standing": Standing.APPLIED, "reviewed_by": None, "approved_by": None}
    dossier = Dossier(str(values["company"]), bool(deposit), documents.shown(documents.every(str(before.code))))
    with Transaction() as tx:
        accounts.change(tx, before, **values, **from_dossier(dossier, clock.shanghai_day(now)))


def _whom(terms: Mapping[str, str]) -> dict[str, str]:
    """Of his terms, those that say who we are to him, and where he is."""
    return {name: said for name, said in terms.items() if not name.startswith(TRAIT) and name not in HARMLESS_TERMS}


def _wrong_rate(wanted: SaveSupplier) -> str:
    """A yuan is a yuan; what another currency costs somebody must say, or its prices would be bought as yuan."""
    if wanted.currency == YUAN:
        return "" if wanted.rate_e6 in (None, MILLION) else "must_be_one"
    return "" if wanted.rate_e6 else "required"


def _unfit(account: Account, keys: tuple[Keys, ...], field: str) -> Wrong:
    """What the adapter says against these terms and keys, before an order finds out; without keys, what can be said."""
    kind = KINDS[account.kind]
    try:
        if keys or not kind.keys:
            registry.made(account, keys)
        else:
            wire.fit(account, (), kind.terms, ())
    except ValueError:
        return [(field, "unfit")]
    return []


def _view(head: Head, caller: Caller, now: datetime) -> SupplierView:
    currency = str(head.currency)
    return SupplierView(
        supplier=str(head.code),
        kind=str(head.kind),
        name=str(head.name),
        company=str(head.company),
        terms=dict(head.terms),
        currency=currency,
        rate_e6=int(head.rate_e6),
        standing=str(head.standing),
        tier=str(head.tier),
        buys=head.may_buy(clock.shanghai_day(now).isoformat()),
        stopped=head.stopped,
        paused_by=head.paused_by,
        balance=_amount(head.balance_minor, currency),
        balance_at=head.balance_at,
        low=_amount(head.low_minor, currency),
        deposit=Amount(amount_minor=int(head.deposit_minor), currency=currency),
        over_on=_day(head.documents_until),
        brands=[BrandView(brand=brand, over_on=_day(until)) for brand, until in sorted((head.brands or {}).items())],
        synced_at=head.synced_at,
        reviewed_by=head.reviewed_by,
        approved_by=head.approved_by,
        resumed_by=head.resumed_by,
        said=head.said,
        callback_url=f"{caller.base_url}/webhooks/suppliers/{head.code}",
    )


def _document(one: Document, holds: bool) -> DocumentView:
    return DocumentView(
        document_id=one.document_id,
        paper=str(one.paper),
        state=str(one.state),
        issued_to=str(one.issued_to),
        issued_by=str(one.issued_by) or None,
        brand=str(one.brand) or None,
        from_owner=bool(one.from_owner),
        ends_on=one.ends_on,
        holds=holds,
        sha256=one.sha256,
        size=None if one.size is None else int(one.size),
        asked_by=str(one.asked_by),
        asked_at=str(one.asked_at),
        received_at=one.received_at,
        reviewed_by=one.reviewed_by,
        reviewed_at=one.reviewed_at,
        said=one.said,
        file_url=None if one.state == DocumentState.ASKED else documents.link(one),
    )


def _amount(minor: float | None, currency: str) -> Amount | None:
    return None if minor is None else Amount(amount_minor=int(minor), currency=currency)


def _day(text: str | None) -> str | None:
    return None if text in (None, ENDLESS.isoformat()) else text
