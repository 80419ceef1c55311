"""Two channels with quotas and our own shop sell one pool at once: nobody sells what is not there, or not theirs."""

from __future__ import annotations

import uuid
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from shared.inventory import shelf
from shared.kernel import clock
from shared.kernel.http import Caller
from shared.orders.contract import WantedLine
from shared.orders.reservations import Confirm, Reserve
from shared.steps import channel_gateway, channels
from tests.conflicts import conflicts
from tests.crowd import SCALE, SEEDS, Crowd, Person, at_once, crowded

SKU = "V001"
BUYERS, CARDS = 10 * max(SCALE, 4), 6 * max(SCALE, 4)  # 3 × 200 on 120 in a soak
ROUND_TRIP = 0.004  # seconds
WAVES = 6  # times that people come again before something must be wrong


class Seller:
    """A channel that holds its key."""

    def __init__(self, crowd: Crowd, name: str) -> None:
        created = crowd.shop.call("POST", "/console/channels", {"channel": name, "name": name}, groups="owner")
        assert created.status == 201, created.body
        self.crowd, self.caller = crowd, Caller("1.2.3.4", token=created.body["key"])

    def sell(self, quantity: int, fate: str) -> None:
        """Reserve, then confirm or release, or both, or neither."""
        wanted = Reserve(lines=[WantedLine(sku=SKU, quantity=quantity)], client_ref=uuid.uuid4().hex)
        asked, caller = self.crowd.asked, self.caller
        reserved = asked(lambda: channel_gateway.reserve(wanted, caller, clock.now()))
        if reserved is None:
            return
        if "release" in fate:
            asked(lambda: channel_gateway.release(reserved.order_id, caller, clock.now()))
        if "confirm" in fate:
            asked(lambda: channel_gateway.confirm(reserved.order_id, Confirm(), caller, clock.now()))


def share_out(crowd: Crowd, **terms: object) -> dict[str, int]:
    answer = crowd.shop.call("POST", f"/console/skus/{SKU}/terms", terms, groups="operator")
    assert answer.status == 200, answer.body
    kept: dict[str, int] = answer.body["kept"]
    return kept


@pytest.mark.parametrize("seed", range(SEEDS))
def test_channels_sell_one_pool_out_within_their_quotas_and_touch_nothing_that_is_kept_for_others(
    seed: int, atomic_cloud: None, tmp_path: Path
) -> None:
    channels._known.clear()
    chance = Random(seed)
    quotas = {"taobao": chance.randrange(1, CARDS // 3), "douyin": chance.randrange(CARDS // 4, CARDS // 2)}
    floor, safety = chance.randrange(1, quotas["douyin"]), chance.randrange(CARDS // 8)
    with crowded(tmp_path) as crowd:
        sellers = {name: Seller(crowd, name) for name in quotas}
        crowd.stock(SKU, CARDS)
        kept = share_out(crowd, quotas=quotas, floors={"douyin": floor}, safety=safety, hold_percent=100)
        assert Counter(kept) == Counter(douyin=floor, safety=safety)

        for wave in range(WAVES):

            def visit(comer: tuple[str, int], wave: int = wave) -> None:
                name, number = comer
                chance = Random(f"{seed} {wave} {comer}")
                quantity = 1 if wave else chance.choice((1, 1, 2, 3))
                fate = (
                    "confirm" if wave else chance.choice(("confirm", "confirm", "release", "release and confirm", ""))
                )
                if name in sellers:
                    sellers[name].sell(quantity, fate)
                elif (order := crowd.place(Person(number), SKU, quantity)) and fate:
                    (crowd.pay if fate == "confirm" else crowd.cancel)(order)

            comers = [(name, number) for name in ("shop", *quotas) for number in range(BUYERS)]
            Random(f"{seed} {wave}").shuffle(comers)
            with conflicts(ROUND_TRIP):
                at_once(visit, comers)
            crowd.settle()
            crowd.let_run_out()
            crowd.settle()
            assert crowd.wrong() == []
            cards = crowd.table("cards")
            sold = Counter(card["channel"] for card in cards if card["state"] == "sold")
            assert sold["taobao"] <= quotas["taobao"]
            assert sold["douyin"] <= quotas["douyin"]
            homes = Counter((card["home"], card["state"], card.get("channel")) for card in cards)
            assert homes[shelf.aside(SKU, shelf.SAFETY), "available", None] == safety
            assert {by for (home, _, by) in homes if home == shelf.aside(SKU, "douyin")} <= {"douyin", None}
            free = {home for home, state, _ in homes if state == "available"} - {shelf.aside(SKU, shelf.SAFETY)}
            if not free or (free == {shelf.aside(SKU, "douyin")} and sold["douyin"] == quotas["douyin"]):
                break  # else a card that came back in the last moment waits for its channel to come again

        left = Counter(card["home"] for card in cards if card["state"] == "available")
        assert left[f"{SKU}#0"] == 0
        assert left.total() == safety or sold["douyin"] == quotas["douyin"]
        assert crowd.said.keys() <= {"out_of_stock", "quota_used_up", "order_not_open", "busy"}

        crowd.stock(SKU, sum(quotas.values()))
        crowd.said.clear()
        for name, quota in quotas.items():
            for _ in range(quota + 1 - sold[name]):
                sellers[name].sell(1, "confirm")
        crowd.settle()
        sold = Counter(card["channel"] for card in crowd.table("cards") if card["state"] == "sold")
        assert {name: sold[name] for name in quotas} == quotas
        assert crowd.said == {"quota_used_up": 2}, "there were cards enough, and each asked for one too many"
        assert crowd.wrong() == []
