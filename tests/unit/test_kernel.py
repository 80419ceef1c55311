"""The kernel's promises, one by one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from shared.kernel import aws, clock, ids, keyring, money, people, tokens, vault
from shared.kernel.errors import NotFound
from shared.kernel.money import Money
from shared.kernel.states import IllegalMove, check_move

moments = st.integers(946_684_800_000, 4_102_444_800_000).map(lambda ms: datetime.fromtimestamp(ms / 1000, UTC))
RING = keyring.Ring("2", (("1", b"old-secret" * 4), ("2", b"new-secret" * 4)))


@pytest.fixture(autouse=True, scope="module")
def secrets() -> Iterator[None]:
    keyring._read.clear()
    with mock_aws():
        aws.client.cache_clear()
        for name in ("PEOPLE_SECRET", "PEPPER_SECRET"):
            members = {"current": RING.current} | {number: secret.decode() for number, secret in RING.secrets}
            aws.client("secretsmanager").create_secret(Name=os.environ[name], SecretString=json.dumps(members))
        yield
    aws.client.cache_clear()
    keyring._read.clear()


@given(st.integers(-(10**15), 10**15), st.integers(1, 10**9))
def test_half_even_is_exact_at_any_size(numerator: int, denominator: int) -> None:
    expected = (Decimal(numerator) / Decimal(denominator)).quantize(Decimal(1), ROUND_HALF_EVEN)
    if Decimal(numerator) % Decimal(denominator) == 0 or 2 * abs(numerator) % denominator:
        assert money.half_even(numerator, denominator) == expected
    else:
        assert money.half_even(numerator, denominator) % 2 == 0 or 2 * numerator % denominator == 0


@pytest.mark.parametrize(
    ("e6", "minor"), [(5_000, 0), (15_000, 2), (25_000, 2), (-5_000, 0), (-15_000, -2), (9_999, 1)]
)
def test_a_cost_in_millionths_is_rounded_half_even(e6: int, minor: int) -> None:
    assert money.minor_from_e6(e6) == minor


@pytest.mark.parametrize(("text", "minor"), [("19.80", 1980), (" 0.01 ", 1), ("7", 700), ("-1.5", -150)])
def test_amounts_are_read_exactly(text: str, minor: int) -> None:
    assert money.parse_minor(text) == minor


@pytest.mark.parametrize("text", ["", "1.234", "NaN", "Infinity", "1e400", "一元", "1,000"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        money.parse_minor(text)


def test_currencies_do_not_mix() -> None:
    assert money.total([Money(1), Money(2)]) == Money(3)
    with pytest.raises(ValueError, match="CNY"):
        money.total([Money(1), Money(2, "USD")])


@given(moments, moments, st.binary(min_size=10, max_size=10), st.binary(min_size=10, max_size=10))
def test_ids_sort_by_time(first: datetime, second: datetime, a: bytes, b: bytes) -> None:
    one, two = ids.new("ord", first, a), ids.new("ord", second, b)
    if abs(first - second) >= timedelta(milliseconds=1):
        assert (one < two) == (first < second)
    assert ids.is_id("ord", one)
    assert not ids.is_id("pay", one)


@given(moments)
def test_written_time_sorts_as_time_and_reads_back(moment: datetime) -> None:
    written = clock.iso(moment)
    assert clock.iso(moment + timedelta(milliseconds=1)) > written
    assert abs(clock.parse(written) - moment) < timedelta(milliseconds=1)
    assert clock.iso(moment.astimezone(timezone(timedelta(hours=8)))) == written


def test_the_business_day_changes_at_midnight_in_shanghai() -> None:
    assert clock.shanghai_day(datetime(2026, 5, 1, 15, 59, tzinfo=UTC)).isoformat() == "2026-05-01"
    assert clock.shanghai_day(datetime(2026, 5, 1, 16, 0, tzinfo=UTC)).isoformat() == "2026-05-02"
    with pytest.raises(ValueError, match="zone"):
        clock.parse("2026-05-01T00:00:00")


class Light(StrEnum):
    RED = "red"
    GREEN = "green"


def test_only_drawn_moves_are_legal_and_staying_is_no_move() -> None:
    moves = {Light.RED: frozenset({Light.GREEN})}
    check_move(moves, Light.RED, Light.GREEN)
    check_move(moves, Light.GREEN, Light.GREEN)
    with pytest.raises(IllegalMove):
        check_move(moves, Light.GREEN, Light.RED)


@pytest.mark.parametrize(
    ("kind", "text", "normal"),
    [
        ("phone", " 138-0013 8000 ", "13800138000"),
        ("phone", "+86 138 0013 8000", "13800138000"),
        ("phone", "１３８００１３８０００", "13800138000"),
        ("email", " Ann@Example.COM ", "ann@example.com"),
    ],
)
def test_a_contact_has_one_normal_form(kind: str, text: str, normal: str) -> None:
    contact = people.contact(kind, text)
    assert contact
    assert contact.text == normal
    assert normal not in contact.mask
    assert normal not in repr(contact)


@pytest.mark.parametrize(
    ("kind", "text"),
    [("phone", "12"), ("phone", "call me"), ("phone", "٠١٢٣٤٥٦٧٨٩٠"), ("email", "a@b"), ("email", "@x.cn")],
)
def test_what_cannot_be_a_contact_is_none(kind: str, text: str) -> None:
    assert people.contact(kind, text) is None


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        (" 8.8.8.8 ", "8.8.8.8"),
        ("2001:4860:0000:0000:0000:0000:0000:8888", "2001:4860::8888"),
        ("2001:4860::ABCD", "2001:4860::abcd"),
        ("10.0.0.1", None),
        ("::1", None),
        ("8.8.8", None),
        ("", None),
    ],
)
def test_an_address_that_tells_callers_apart_has_one_form(text: str, normal: str | None) -> None:
    assert people.address(text) == normal


def test_hashes_are_keyed_and_kinds_apart() -> None:
    assert people.hashed("phone", "13800138000") == people.hashed("phone", "13800138000")
    assert people.hashed("phone", "13800138000") != people.hashed("address", "13800138000")
    assert "138" not in people.hashed("phone", "13800138000")


def test_sealed_data_opens_only_for_its_own_record() -> None:
    sealed = people.seal("phone:13800138000", "ord_1")
    assert b"138" not in sealed
    assert people.unseal(sealed, "ord_1") == "phone:13800138000"
    with pytest.raises(InvalidTag):
        people.unseal(sealed, "ord_2")


def test_an_access_token_opens_its_own_order_only_even_after_a_rotation() -> None:
    token = tokens.access_token("ord_1")
    tokens.check_access("ord_1", token)
    older = keyring.Ring("1", RING.secrets)
    proof = tokens._proof(older, "ord_1", "1")
    tokens.check_access("ord_1", f"1.{proof}")
    for wrong in ("", "2.", token[:-1], token + "A", f"3.{proof}", f"2.{proof}", "2.✓"):
        with pytest.raises(NotFound):
            tokens.check_access("ord_1", wrong)
    with pytest.raises(NotFound):
        tokens.check_access("ord_2", token)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_sealed_code_with_one_changed_byte_does_not_open(place: int, change: int) -> None:
    key = vault.LotKey(b"k" * 32, b"wrapped")
    sealed = bytearray(vault.seal(key, "lot_1", "crd_1", vault.Secret("CODE-1", "123")))
    assert vault.unseal(key.plain, "lot_1", "crd_1", 1, bytes(sealed)) == vault.Secret("CODE-1", "123")
    sealed[place % len(sealed)] ^= change
    with pytest.raises(vault.Tampered):
        vault.unseal(key.plain, "lot_1", "crd_1", 1, bytes(sealed))


@pytest.mark.parametrize(
    ("lot", "card", "version", "plain"),
    [
        ("lot_2", "crd_1", 1, b"k" * 32),
        ("lot_1", "crd_2", 1, b"k" * 32),
        ("lot_1", "crd_1", 2, b"k" * 32),
        ("lot_1", "crd_1", 1, b"x" * 32),
    ],
)
def test_a_code_is_bound_to_its_card_lot_version_and_key(lot: str, card: str, version: int, plain: bytes) -> None:
    sealed = vault.seal(vault.LotKey(b"k" * 32, b"wrapped"), "lot_1", "crd_1", vault.Secret("CODE-1"))
    with pytest.raises(vault.Tampered):
        vault.unseal(plain, lot, card, version, sealed)


def test_secrets_do_not_show_themselves() -> None:
    shown = f"{vault.Secret('CODE-1', '123')} {vault.LotKey(b'k' * 32, b'w')} {RING!r}"
    assert not any(secret in shown for secret in ("CODE-1", "123", "kkk", "old-secret"))


def test_a_fingerprint_names_its_pepper_and_normal_form() -> None:
    one, other = vault.fingerprints("CODE1", 1)[0], vault.fingerprints("CODE2", 1)[0]
    assert one.startswith("fp#2#1#")
    assert one != other
    assert "CODE1" not in one


def test_while_there_are_two_peppers_a_code_has_a_fingerprint_under_each_and_the_current_one_comes_first() -> None:
    assert [one.split("#")[1] for one in vault.fingerprints("CODE1", 1)] == ["2", "1"]
    assert vault.fingerprints("CODE1", 1)[1] == vault.fingerprint_under("1", "CODE1", 1)
    assert vault.peppers() == 2
