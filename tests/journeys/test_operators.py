"""Operators: who they are, what each role may do, and what they do in a day."""

from __future__ import annotations

import urllib.request
from datetime import UTC, datetime, timedelta

from shared.kernel import clock
from tests.journeys.stack import CATALOGUE, Stack, wait_for


def test_nobody_enters_the_console_without_a_token_of_this_pool(stack: Stack) -> None:
    assert stack.call("GET", "/console/reviews").status == 401
    assert stack.call("GET", "/console/reviews", bearer="nonsense").status == 401
    good = stack.token("owner")
    body, _, signature = good.rpartition(".")
    forged = f"{body}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
    assert stack.call("GET", "/console/reviews", bearer=forged).status == 401
    assert stack.call("GET", "/console/reviews", bearer=good).status == 200


def test_each_role_may_do_its_own_work_and_no_more(stack: Stack) -> None:
    today = clock.shanghai_day(datetime.now(UTC)).isoformat()
    assert stack.console("POST", "/reviews/rev_none/approve", {}, role="auditor").status == 403
    assert stack.console("POST", "/reviews/rev_none/approve", {}, role="finance").status == 403
    assert stack.console("POST", "/reviews/rev_none/approve", {}, role="operator").status == 404
    assert stack.console("GET", f"/settlement/{today}", role="operator").status == 403
    assert stack.console("GET", f"/settlement/{today}", role="auditor").status == 200
    assert stack.console("POST", f"/settlement/{today}/close", role="auditor").status == 403
    assert stack.console("POST", "/imports", {}, role="finance").status == 403


def test_a_delivered_order_is_refunded_once_and_its_card_never_sold_again(stack: Stack) -> None:
    stack.stock("E067", 1)
    buyer = stack.buyer()
    order = buyer.buy("E067")
    path, why = f"/orders/{order.order_id}/refunds", {"reason": "did not work"}
    first, second = (stack.console("POST", path, why, role="operator") for _ in range(2))
    assert first.body["refund_id"] == second.body["refund_id"]
    stack.until(order.order_id, "refunded")

    assert stack.entries(order.order_id) == {"payment": 1, "delivery": 1, "refund_requested": 1, "refund_sent": 1}
    assert stack.buyer().try_to_place("E067").code == "out_of_stock"
    shown = stack.console("GET", f"/orders/{order.order_id}", role="auditor").body
    assert shown["status"] == "refunded"
    assert buyer.contact["phone"] not in str(shown)


def test_a_denied_contact_gets_its_money_back_and_an_allowed_one_its_cards(stack: Stack) -> None:
    stack.wholesale("V008")
    stack.stock("V008", 12)
    denied, allowed = stack.buyer(), stack.buyer(email=stack.canaries.email())
    for buyer, verdict in ((denied, "deny"), (allowed, "allow")):
        ((kind, value),) = buyer.contact.items()
        entry = {"kind": kind, "value": value, "verdict": verdict, "reason": "known", "days": 1}
        assert stack.console("POST", "/lists", entry, role="operator").status == 201
    orders = [buyer.place("V008", 6) for buyer in (denied, allowed)]
    denied.pay(orders[0])
    allowed.pay(orders[1])
    stack.until(orders[0].order_id, "refunded")
    stack.until(orders[1].order_id, "delivered")


def test_a_refund_that_the_provider_refuses_becomes_a_task_until_a_person_has_paid_it_back(stack: Stack) -> None:
    stack.stock("E067", 1)
    order = stack.buyer().buy("E067")
    of_ours = [item for item in stack.table("payments") if item.get("order_id") == order.order_id]
    (money,) = [item for item in of_ours if item["id"].startswith("money#")]
    stack.client("dynamodb").update_item(
        TableName=f"kaquan-{stack.stage}-payments",
        Key={"id": {"S": money["id"]}},
        UpdateExpression="SET provider_no = :n",
        ExpressionAttributeValues={":n": {"S": "sbx-of-nobody"}},
    )
    reply = stack.console("POST", f"/orders/{order.order_id}/refunds", {"reason": "broken"}, role="finance")
    assert reply.status == 201, reply.body

    def of_order() -> list[dict[str, str]]:
        tasks = stack.console("GET", "/tasks", role="auditor").body["tasks"]
        return [task for task in tasks if task["order_id"] == order.order_id]

    (task,) = wait_for(of_order, "the task")
    assert task["kind"] == "refund_failed"
    path = f"/refunds/{task['about']}/paid-by-hand"
    paid = stack.console("POST", path, {"note": "bank transfer"}, role="finance")
    assert (paid.status, paid.body["state"]) == (200, "succeeded"), paid.body
    assert not of_order()
    stack.until(order.order_id, "refunded")


def test_the_catalogue_shows_what_can_be_had(stack: Stack) -> None:
    stack.stock("E069", 1)  # and none of L045
    found = stack.call("GET", "/products?q=wangzhe").body["products"]
    assert any("王者" in product["name"] for product in found)
    everything = stack.call("GET", "/products?limit=100").body["products"]
    shown = [
        sku
        for product in everything
        for sku in stack.call("GET", f"/products/{product['product_id']}").body["skus"]
        if sku["sku"] in {"E069", "L045"}
    ]
    assert {sku["sku"]: sku["available"] for sku in shown} == {"E069": True, "L045": False}
    assert stack.call("GET", "/health").body["status"] == "ok"
    assert stack.call("POST", "/webhooks/suppliers/nobody", {}).status == 404


def test_a_changed_price_is_charged_to_nobody_who_saw_another(stack: Stack) -> None:
    stack.stock("L043", 1)
    buyer = stack.buyer()
    seen = buyer.call("POST", "/quotes", {"lines": [{"sku": "L043", "quantity": 1}]}).body
    assert seen["total"]["amount_minor"] == 790

    sample = CATALOGUE.read_text(encoding="utf-8-sig")
    (line,) = [line for line in sample.splitlines() if line.startswith("L043,")]
    dearer = sample.replace(line, line.replace(",7.90,", ",8.90,"))
    for text, price in ((dearer, 890), (sample, 790)):
        view = stack.import_catalogue(text.encode())
        assert (view["state"], view["counts"]["changed"], view["counts"]["refused"]) == ("done", 1, 0), view
        assert buyer.try_to_place("L043", quote_hash=seen["quote_hash"]).code == "price_changed"
        quote = buyer.call("POST", "/quotes", {"lines": [{"sku": "L043", "quantity": 1}]}).body
        assert quote["total"]["amount_minor"] == price
    order = buyer.place("L043", quote_hash=quote["quote_hash"])
    assert order.total == 790
    buyer.cancel(order)


def test_an_address_that_guesses_tokens_is_stopped_and_learns_nothing(stack: Stack) -> None:
    stack.stock("E069", 1)
    buyer, thief = stack.buyer(), stack.buyer()
    order = buyer.place("E069")
    tried = [thief.call("GET", f"/orders/{order.order_id}", bearer=f"1.{n:032}") for n in range(31)]
    nowhere = thief.call("GET", "/orders/ord_00000000000000000000000000", bearer="1.x")
    assert [(reply.status, reply.code) for reply in tried[:30]] == [(404, "not_found")] * 30
    assert (tried[30].status, nowhere.status) == (429, 429)
    assert thief.call("POST", f"/orders/{order.order_id}/reveal", bearer="1.x").status == 429
    assert buyer.status(order) == "placed"
    buyer.cancel(order)


def test_a_day_is_closed_once_and_its_statement_can_be_fetched(stack: Stack) -> None:
    today = clock.shanghai_day(datetime.now(UTC))
    yesterday = (today - timedelta(days=1)).isoformat()
    path = f"/settlement/{yesterday}/close"
    first, second = (stack.console("POST", path, role="finance") for _ in range(2))
    assert first.status == 200, first.body
    assert first.body["sha256"] == second.body["sha256"]
    assert stack.console("POST", f"/settlement/{today}/close", role="finance").code == "day_not_over"

    shown = stack.console("GET", f"/settlement/{yesterday}", role="auditor").body
    for kind, begin in (("csv", "\ufeff".encode()), ("xlsx", b"PK")):
        with urllib.request.urlopen(shown[f"{kind}_url"], timeout=10) as reply:
            assert reply.read().startswith(begin)


def test_an_entry_is_undone_by_another_and_only_once(stack: Stack) -> None:
    stack.stock("E069", 1)
    today = clock.shanghai_day(datetime.now(UTC)).isoformat()
    wrong = next(entry["entry_id"] for entry in stack.table("ledger") if entry.get("kind") == "stock_in")
    path = f"/settlement/{today}/entries"
    undone = stack.console("POST", f"{path}/{wrong}/reverse", role="finance")
    assert undone.status == 201, undone.body
    assert stack.console("POST", f"{path}/{wrong}/reverse", role="finance").code == "already_reversed"
    # What was right is made right again, the only way there is.
    restored = stack.console("POST", f"{path}/{undone.body['entry_id']}/reverse", role="finance")
    assert restored.status == 201, restored.body
