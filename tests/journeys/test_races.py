"""Many at once: what is rare is sold once, and money that races a cancellation is never lost."""

from __future__ import annotations

import random
import threading

import pytest

from tests.journeys.stack import CONNECTIONS, SCALE, Buyer, Order, Reply, Stack, at_once, order_in, persistently

CARDS, BUYERS = 50, 200 * SCALE


@pytest.fixture(scope="module", autouse=True)
def busy_shop(stack: Stack) -> None:
    """Before the rush: as many workers as connections, or this machine would spend the rush on starting them."""
    unknown = {"lines": [{"sku": "NONE", "quantity": 1}]}
    at_once(lambda _: stack.call("POST", "/quotes", unknown), range(2 * CONNECTIONS))
    at_once(lambda _: stack.call("POST", "/webhooks/payments/nobody", {}), range(CONNECTIONS), CONNECTIONS // 2)


def test_two_hundred_buyers_get_fifty_cards_and_each_card_has_one_owner(stack: Stack) -> None:
    codes = set(stack.stock("V013", CARDS))
    buyers = [stack.buyer() for _ in range(BUYERS)]

    def rush(buyer: Buyer) -> Reply:
        reference = f"{random.getrandbits(160):040x}"
        reply = persistently(lambda: buyer.try_to_place("V013", client_ref=reference))
        if reply.status == 201:
            buyer.pay(order_in(reply))
        return reply

    replies = at_once(rush, buyers)
    won = [(buyer, order_in(reply)) for buyer, reply in zip(buyers, replies, strict=True) if reply.status == 201]
    lost = [(reply.status, reply.code) for reply in replies if reply.status != 201]
    assert len(won) == CARDS
    assert set(lost) == {(409, "out_of_stock")}

    ends = stack.all_settled([order.order_id for _, order in won], seconds=120 * SCALE)
    assert set(ends.values()) == {"delivered"}
    revealed = [code for one in at_once(lambda pair: pair[0].reveal(pair[1]), won) for code in one]
    assert len(revealed) == CARDS
    assert set(revealed) == codes


def test_cancelling_races_paying_and_every_order_ends_with_cards_or_with_money_back(stack: Stack) -> None:
    rounds = 24 * SCALE
    stack.stock("M016", rounds)
    racers = [stack.buyer() for _ in range(rounds)]
    placed = list(zip(racers, at_once(lambda buyer: buyer.place("M016"), racers, 8), strict=True))
    chance = random.Random(2)

    def race(entrant: tuple[Buyer, Order, float]) -> None:
        """Both at the same moment, one of them up to 40 ms later."""
        buyer, order, lead = entrant
        late = threading.Timer(abs(lead), buyer.cancel if lead > 0 else buyer.pay, [order])
        late.start()
        (buyer.pay if lead > 0 else buyer.cancel)(order)
        late.join()

    def snatch() -> Order | None:
        """Whatever a cancellation puts back on the shelf is wanted by somebody else."""
        buyer = stack.buyer()
        reply = persistently(lambda: buyer.try_to_place("M016"))
        if reply.status != 201:
            return None
        buyer.pay(order_in(reply))
        return order_in(reply)

    entrants: list[tuple[Buyer, Order, float] | None] = [
        *((buyer, order, chance.uniform(-0.04, 0.04)) for buyer, order in placed),
        *[None] * (rounds // 2),
    ]
    chance.shuffle(entrants)
    snatched = [order for order in at_once(lambda one: race(one) if one else snatch(), entrants) if order]

    ends = stack.all_settled(
        [order.order_id for order in [*(order for _, order in placed), *snatched]], seconds=120 * SCALE
    )
    # All of them paid: whoever has no cards has the money back, which `sound_books` counts at the provider.
    assert set(ends.values()) <= {"delivered", "refunded"}
