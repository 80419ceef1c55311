"""Our accounts with payment providers: set up over the console, chosen by channel and health."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from shared.payments import merchant_keys, merchants, registry
from shared.payments.errors import MethodOut, UnknownMethod, UnknownProvider
from shared.payments.health import SILENT_MAX
from tests.notified import APIV3_KEY, NOWHERE, private, public
from tests.shop import Answer, Shop

NOW = datetime.now(UTC)


def terms(**more: Any) -> dict[str, Any]:
    return {
        "kind": "wechat",
        "methods": ["wechat_native", "wechat_h5"],
        "fee_e6": 6_000,
        "terms": {"appid": "wxapp", "mchid": "19000", "gateway": NOWHERE},
        **more,
    }


def keys(platform: str = "PUB_KEY_ID_1") -> dict[str, str]:
    return {
        "serial": "5157F09EFDC096DE15EBE81A47057A72",
        "private_key": private("ours"),
        "apiv3_key": APIV3_KEY,
        "platform_key_id": platform,
        "platform_key": public("wechat"),
    }


def save(shop: Shop, code: str = "wechat", **more: Any) -> Answer:
    return shop.call("PUT", f"/console/merchants/{code}", terms(**more), groups="owner")


def give(shop: Shop, code: str = "wechat", given: dict[str, str] | None = None) -> Answer:
    body = {"keys": given or keys()}
    return shop.call("POST", f"/console/merchants/{code}/keys", body, groups="owner")


def fields(answer: Answer) -> list[tuple[str, str]]:
    assert answer.status == 422, answer.body
    return [(one["field"], one["reason"]) for one in answer.body["fields"]]


def offered(shop: Shop) -> list[str]:
    registry.forget()  # what another process would see
    return [one["payment_method"] for one in shop.call("GET", "/payment-methods").body["methods"]]


def test_a_shop_without_accounts_offers_the_sandbox_and_lists_nothing(shop: Shop) -> None:
    assert offered(shop) == ["sandbox"]
    assert shop.call("GET", "/console/merchants", groups="auditor").body == {"merchants": []}


def test_an_account_is_offered_as_soon_as_it_is_there_and_not_when_it_is_off(shop: Shop) -> None:
    shown = save(shop).body
    assert (shown["key_sets"], shown["health"]["state"]) == (0, "no_keys")
    assert give(shop).body["health"]["state"] == "answering"
    assert offered(shop) == ["sandbox", "wechat_native", "wechat_h5"]
    assert save(shop, off=True).body["health"]["state"] == "off"
    assert offered(shop) == ["sandbox"]


@pytest.mark.parametrize(
    ("code", "more", "wrong"),
    [
        ("sandbox", {}, ("merchant", "reserved")),
        ("on_account", {}, ("merchant", "not_a_name")),
        ("W", {}, ("merchant", "not_a_name")),
        ("wechat", {"methods": ["alipay_qr"]}, ("methods", "unknown")),
        ("wechat", {"terms": {"appid": "wxapp"}}, ("terms.mchid", "required")),
        ("wechat", {"terms": {"appid": "wxapp", "mchid": "1", "secret": "x"}}, ("terms.secret", "unknown")),
    ],
)
def test_terms_that_cannot_be_are_refused_by_name(shop: Shop, code: str, more: Any, wrong: tuple[str, str]) -> None:
    assert wrong in fields(save(shop, code, **more))
    assert merchants.listed() == ()


def test_what_its_books_rest_on_cannot_be_changed(shop: Shop) -> None:
    assert save(shop).status == 200
    alipay = {"kind": "alipay", "methods": ["alipay_qr"], "terms": {"app_id": "2021", "seller_id": "2088"}}
    assert ("kind", "cannot_change") in fields(save(shop, **alipay))
    assert ("currency", "cannot_change") in fields(save(shop, currency="USD"))


def test_keys_that_do_not_fit_are_refused_and_none_is_ever_shown(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    assert give(shop).status == 404
    save(shop)
    missing = {name: value for name, value in keys().items() if name != "apiv3_key"}
    assert ("keys.apiv3_key", "required") in fields(give(shop, given=missing))
    assert ("keys.more", "unknown") in fields(give(shop, given={**keys(), "more": "x"}))
    assert ("terms", "unfit") not in fields(give(shop, given={**keys(), "more": "x"}))

    given = give(shop)
    listed = shop.call("GET", "/console/merchants", groups="owner")
    said = json.dumps([given.body, listed.body]) + capsys.readouterr().out
    for secret in keys().values():
        assert secret not in said or secret.startswith("PUB_KEY")


def test_a_gateway_in_clear_is_for_this_machine_alone(shop: Shop) -> None:
    save(shop)
    give(shop)
    abroad = {"appid": "wxapp", "mchid": "19000", "gateway": "http://pay.example"}
    assert fields(save(shop, terms=abroad)) == [("terms", "unfit")]


def test_two_sets_of_keys_are_valid_at_once_until_the_older_is_retired(shop: Shop) -> None:
    save(shop)
    first, second, third = (keys(f"PUB_KEY_ID_{n}") for n in "123")
    assert [give(shop, given=one).body["key_sets"] for one in (first, first, second)] == [1, 1, 2]
    assert merchant_keys.of("wechat") == (second, first)
    assert give(shop, given=third).body["key_sets"] == 2
    assert merchant_keys.of("wechat") == (third, second)
    for _ in range(2):
        retired = shop.call("POST", "/console/merchants/wechat/keys/retire", groups="owner")
        assert retired.body["key_sets"] == 1
    assert merchant_keys.of("wechat") == (third,)
    secrets = boto3.client("secretsmanager").list_secrets()["SecretList"]
    assert [one["Name"] for one in secrets if "merchant" in one["Name"]] == ["kaquan-test-merchant-wechat"]


def test_a_channels_own_account_comes_first_and_serves_nobody_else(shop: Shop) -> None:
    for code, channels in (("everybodys", []), ("partners", ["partner"])):
        save(shop, code, channels=channels)
        give(shop, code)
    assert registry.choose("wechat_native", "shop", NOW).code == "everybodys"
    assert registry.choose("wechat_native", "partner", NOW).code == "partners"
    with pytest.raises(UnknownMethod):
        registry.choose("alipay_qr", "shop", NOW)
    with pytest.raises(UnknownProvider):
        registry.provider("nobodys")


def test_a_silent_provider_gives_way_to_another_account_and_comes_back(shop: Shop) -> None:
    now = datetime.now(UTC)
    for code in ("first", "second"):
        save(shop, code)
        give(shop, code)
    for _ in range(SILENT_MAX - 1):
        merchants.tell("first", False, 5_000, 0, now)
    registry.forget()
    assert registry.choose("wechat_native", "shop", now).code == "first"

    merchants.tell("first", False, 5_000, 0, now)
    registry.forget()
    assert registry.choose("wechat_native", "shop", now).code == "second"
    for _ in range(SILENT_MAX):
        merchants.tell("second", False, 5_000, 0, now)
    registry.forget()
    with pytest.raises(MethodOut):
        registry.choose("wechat_native", "shop", now)
    refused = shop.place(payment_method="wechat_native")
    assert (refused.status, refused.body["code"], refused.body["retryable"]) == (503, "payment_method_out", True)

    later = now + timedelta(minutes=2)
    assert registry.choose("wechat_native", "shop", later).code == "first"
    merchants.tell("first", True, 80, registry.silent("first"), now)  # the hour that is shown ends now
    registry.forget()
    assert registry.silent("first") == 0
    health = next(one for one in shop.call("GET", "/console/merchants", groups="owner").body["merchants"])["health"]
    assert (health["state"], health["calls"], health["average_ms"]) == ("answering", SILENT_MAX + 1, 80)


def test_an_order_is_placed_though_its_provider_is_silent_and_can_be_paid_another_way(shop: Shop) -> None:
    shop.stock()
    save(shop)
    give(shop)
    placed = shop.place(payment_method="wechat_native")
    assert placed.status == 201, placed.body
    problem = placed.body["payment"]["problem"]
    assert (problem["code"], problem["retryable"]) == ("provider_silent", True)
    assert "wechat" in problem["zh"]

    path, token = f"/orders/{placed.body['order_id']}/payments", placed.body["access_token"]
    again = shop.call("POST", path, {"payment_method": "wechat_native"}, token=token)
    assert (again.status, again.body["code"]) == (503, "provider_silent")
    other = shop.call("POST", path, {"payment_method": "sandbox"}, token=token)
    assert (other.status, other.body["problem"]) == (201, None)
    assert other.body["redirect_url"]


def test_a_method_that_must_know_its_payer_says_so_before_anything_is_held(shop: Shop) -> None:
    shop.stock()
    save(shop, methods=["wechat_jsapi"])
    give(shop)
    refused = shop.place(payment_method="wechat_jsapi")
    assert (refused.status, refused.body["code"]) == (422, "no_payer")
    assert shop.place(payment_method="wechat_jsapi", payer="o-openid").status == 201
