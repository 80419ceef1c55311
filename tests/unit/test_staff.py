"""Roles and tokens: who may do what, and whose word is believed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from shared.kernel.errors import NotAllowed
from shared.staff.permissions import AUDITOR, FINANCE, MATRIX, OPERATOR, OWNER, ROLES, may, require
from shared.staff.tokens import BadToken, Keys, NoKeys, Person, read

ISSUER, CLIENT = "https://issuer.test/pool", "client-1"
OURS, THEIRS = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))


def as_jwk(key: rsa.RSAPrivateKey, kid: str) -> dict[str, Any]:
    return {
        **json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())),
        "kid": kid,
        "use": "sig",
        "alg": "RS256",
    }


def keys(*published: Mapping[str, Any]) -> Keys:
    return Keys(lambda: {"keys": list(published)})


POOL = keys(as_jwk(OURS, "k1"))


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    wanted = {
        "iss": ISSUER,
        "sub": "0b7e",
        "aud": CLIENT,
        "token_use": "id",
        "iat": now,
        "exp": now + 600,
        "cognito:username": "wang",
        "cognito:groups": ["finance", "owner"],
        **changes,
    }
    return {name: value for name, value in wanted.items() if value is not None}


def token(key: Any = OURS, kid: str | None = "k1", algorithm: str = "RS256", **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm=algorithm, headers={"kid": kid} if kid else None)


def raw_token(header: Mapping[str, Any], sign: Callable[[bytes], bytes] = lambda _: b"", **changes: Any) -> str:
    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    signed = f"{part(json.dumps(header).encode())}.{part(json.dumps(claims(**changes)).encode())}"
    return f"{signed}.{part(sign(signed.encode()))}"


def refused(text: str) -> bool:
    with pytest.raises(BadToken) as error:
        read(text, POOL, ISSUER, CLIENT)
    return len(text) < 20 or text not in str(error.value)


def test_an_id_token_of_our_client_says_who_it_is_and_which_roles_they_have() -> None:
    assert read(token(), POOL, ISSUER, CLIENT) == Person("wang", ("owner", "finance"))


def test_an_access_token_of_our_client_is_as_good() -> None:
    access = token(token_use="access", aud=None, client_id=CLIENT, username="li", **{"cognito:username": None})

    assert read(access, POOL, ISSUER, CLIENT) == Person("li", ("owner", "finance"))


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://issuer.test/other"},
        {"iss": None},
        {"aud": "client-2"},
        {"aud": None},
        {"aud": [CLIENT, "client-2"]},
        {"token_use": "refresh"},
        {"token_use": None},
        {"token_use": "access"},  # names its client as an id token does
        {"aud": None, "client_id": CLIENT},  # and the other way round
        {"exp": 1},
        {"exp": None},
        {"exp": "tomorrow"},
        {"iat": 32_503_680_000},
        {"nbf": 32_503_680_000},
        {"sub": None},
    ],
    ids=str,
)
def test_a_token_with_a_wrong_claim_is_refused(changes: dict[str, Any]) -> None:
    assert refused(token(**changes))


def test_clocks_may_differ_by_half_a_minute_and_no_more() -> None:
    now = int(time.time())

    assert read(token(exp=now - 20), POOL, ISSUER, CLIENT)
    assert refused(token(exp=now - 40))


def test_a_token_signed_by_somebody_elses_key_is_refused() -> None:
    assert refused(token(key=THEIRS))


def test_a_token_that_names_no_key_is_refused() -> None:
    assert refused(token(kid=None))


def test_an_unsigned_token_is_refused() -> None:
    for algorithm in ("none", "None", "NONE", ""):
        assert refused(raw_token({"alg": algorithm, "kid": "k1"}))


def test_the_public_key_is_no_shared_secret() -> None:
    public = OURS.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    forged = raw_token({"alg": "HS256", "kid": "k1"}, lambda text: hmac.new(public, text, hashlib.sha256).digest())

    assert refused(forged)


def test_a_token_cannot_bring_its_own_key() -> None:
    header = {"alg": "RS256", "kid": "k1", "jwk": as_jwk(THEIRS, "k1"), "jku": "https://evil.test/jwks"}

    assert refused(jwt.encode(claims(), THEIRS, algorithm="RS256", headers=header))


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256"])
def test_only_the_pools_algorithm_counts(algorithm: str) -> None:
    assert refused(token(algorithm=algorithm))


def test_a_changed_token_is_refused() -> None:
    head, body, signature = token().split(".")
    other = token(**{"cognito:groups": ["owner"]}).split(".")[1]

    assert refused(f"{head}.{other}.{signature}")
    assert refused(f"{head}.{body}.")
    assert refused(f"{head}.{body}")


@given(st.text() | st.lists(st.binary().map(lambda b: base64.urlsafe_b64encode(b).decode()), max_size=4).map(".".join))
def test_no_text_makes_reading_fail_in_another_way(text: str) -> None:
    assert refused(text)


def test_deeply_nested_json_is_refused_like_any_other_rubbish() -> None:
    deep = base64.urlsafe_b64encode(b'{"a":' * 20_000).decode().rstrip("=")

    assert refused(f"{deep}.{deep}.x")


def test_a_group_that_is_no_role_gives_nothing_even_if_its_name_looks_like_several() -> None:
    person = read(token(**{"cognito:groups": ["staff,owner", "Owner", "owner ", "auditor"]}), POOL, ISSUER, CLIENT)

    assert person.roles == ("auditor",)


@pytest.mark.parametrize("groups", [None, [], "owner", {"owner": True}, [["owner"]], [None]])
def test_without_a_list_of_groups_there_are_no_roles(groups: Any) -> None:
    assert read(token(**{"cognito:groups": groups}), POOL, ISSUER, CLIENT).roles == ()


class Pool:
    """A pool that publishes keys and counts how often it is asked, and a clock that a test can set."""

    def __init__(self, *published: Mapping[str, Any]) -> None:
        self.published, self.asked, self.now, self.up = list(published), 0, 1_000.0, True
        self.keys = Keys(self.fetch, lambda: self.now)

    def fetch(self) -> Mapping[str, Any]:
        self.asked += 1
        if not self.up:
            raise NoKeys("down")
        return {"keys": self.published}


def test_keys_are_fetched_once() -> None:
    pool = Pool(as_jwk(OURS, "k1"))
    for _ in range(3):
        read(token(), pool.keys, ISSUER, CLIENT)

    assert pool.asked == 1


def test_made_up_key_ids_ask_the_pool_once_a_minute_at_most() -> None:
    pool = Pool(as_jwk(OURS, "k1"))
    for second in range(150):
        pool.now = 1_000.0 + second
        with pytest.raises(BadToken):
            pool.keys.find(f"made-up-{second}")

    assert pool.asked == 3


def test_a_new_key_of_the_pool_is_found_after_a_minute() -> None:
    pool = Pool(as_jwk(OURS, "k1"))
    read(token(), pool.keys, ISSUER, CLIENT)
    pool.published = [as_jwk(THEIRS, "k2")]
    pool.now += 60

    assert read(token(key=THEIRS, kid="k2"), pool.keys, ISSUER, CLIENT).name == "wang"


def test_a_pool_that_cannot_be_asked_is_not_the_callers_fault() -> None:
    pool = Pool()
    with pytest.raises(NoKeys):
        read(token(), pool.keys, ISSUER, CLIENT)
    pool.published = [as_jwk(OURS, "k1")]

    assert read(token(), pool.keys, ISSUER, CLIENT).name == "wang"


def test_known_keys_outlive_a_pool_that_went_down() -> None:
    pool = Pool(as_jwk(OURS, "k1"))
    read(token(), pool.keys, ISSUER, CLIENT)
    pool.up, pool.now = False, pool.now + 3_600

    assert read(token(), pool.keys, ISSUER, CLIENT).name == "wang"


def test_a_published_key_of_another_kind_is_passed_over() -> None:
    curve = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key()))
    broken = {"kty": "RSA", "kid": "k3", "n": "!", "e": "!"}
    pool = keys({**curve, "kid": "k2"}, broken, {**as_jwk(THEIRS, "k4"), "use": "enc"}, as_jwk(OURS, "k1"))

    assert read(token(), pool, ISSUER, CLIENT).name == "wang"
    for kid in ("k2", "k3", "k4"):
        with pytest.raises(BadToken):
            pool.find(kid)


@pytest.mark.parametrize("permission", MATRIX)
def test_a_permission_is_had_by_its_roles_and_by_nobody_else(permission: str) -> None:
    for role in ROLES:
        if role in may(permission).roles:
            require({role}, permission)
        else:
            with pytest.raises(NotAllowed):
                require({role}, permission)
    with pytest.raises(NotAllowed):
        require(set(), permission)
    with pytest.raises(NotAllowed):
        require({"Owner", "admin", ""}, permission)


def test_the_owner_may_do_everything() -> None:
    assert all(OWNER in roles for roles in MATRIX.values())


def test_an_auditor_reads_and_changes_nothing() -> None:
    assert {name for name, roles in MATRIX.items() if AUDITOR in roles} == {n for n in MATRIX if n.endswith(".read")}


def test_the_shop_floor_does_not_close_the_books_and_finance_does_not_touch_the_stock() -> None:
    assert not {"settlement.close", "settlement.read"} & {name for name, roles in MATRIX.items() if OPERATOR in roles}
    assert not {"cards.import", "cards.reveal", "reviews.decide"} & {n for n, r in MATRIX.items() if FINANCE in r}


def test_an_unknown_permission_is_noticed_when_the_door_is_loaded() -> None:
    with pytest.raises(KeyError):
        may("refunds.creat")
