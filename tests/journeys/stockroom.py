"""What operators do with stock, over HTTP: card files come in, lots are recalled, levels are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.journeys.stack import Stack, persistently, wait_for

ENDED = frozenset({"done", "failed", "cancelled", "undone"})


def ask(stack: Stack, content: bytes, file_name: str = "cards.txt", sku: str = "", **options: Any) -> str:
    """An import of cards whose file has been uploaded; its job."""
    return stack.upload(content, file_name, sku, **{"supplier": "acme", **options})


def checked(stack: Stack, content: bytes, file_name: str = "cards.txt", sku: str = "", **options: Any) -> Any:
    """Upload and check; what the check has found."""
    job_id = ask(stack, content, file_name, sku, **options)
    stack.move_import(job_id, "check")
    return stack.until_import(job_id, "checked", "failed")


def run(stack: Stack, job_id: str, seconds: float = 60) -> Any:
    """Run what was checked, to its end; the stack knows then how many cards came."""
    stack.move_import(job_id, "run")
    return came(stack, stack.until_import(job_id, *ENDED, seconds=seconds))


def came(stack: Stack, view: Any) -> Any:
    """Remember what an import has brought that has come to its end."""
    lots = {lot["lot_id"] for lot in view["lots"]}
    for card in stack.table("cards", ProjectionExpression="sku, lot_id"):
        if card["lot_id"] in lots:
            stack.stocked[card["sku"]] += 1
    return view


def take_in(stack: Stack, content: bytes, file_name: str = "cards.txt", sku: str = "", **options: Any) -> Any:
    return run(stack, checked(stack, content, file_name, sku, **options)["job_id"])


def codes(stack: Stack, count: int) -> list[str]:
    return [stack.canaries.code() for _ in range(count)]


def lot(stack: Stack, sku: str, count: int, **options: Any) -> tuple[str, list[str]]:
    """A lot of that many new cards: its id, and the codes."""
    made = codes(stack, count)
    view = take_in(stack, "\n".join(made).encode(), sku=sku, **options)
    assert (view["state"], view["counts"]["done"]) == ("done", count), view
    return str(view["lots"][0]["lot_id"]), made


# --- recalls ---------------------------------------------------------------------------------------------------------


def recall(stack: Stack, **wanted: str) -> Any:
    """Ask for a recall, and wait for its end."""
    reply = persistently(lambda: stack.console("POST", "/recalls", {"reason": "bad batch", **wanted}, "operator"))
    assert reply.status == 201, reply.body
    return recalled(stack, reply.body["recall_id"])


def recalled(stack: Stack, recall_id: str, seconds: float = 60) -> Any:
    last: dict[str, Any] = {}

    def done() -> bool:
        last.update(stack.console("GET", f"/recalls/{recall_id}", role="auditor").body)
        return last["state"] == "done"

    wait_for(done, f"the recall {recall_id} to be done", seconds)
    return last


# --- keys and exports ------------------------------------------------------------------------------------------------


def job_state(stack: Stack, job_id: str) -> str:
    item = stack.client("dynamodb").get_item(
        TableName=f"kaquan-{stack.stage}-jobs",
        Key={"job_id": {"S": job_id}, "part": {"S": "head"}},
        ConsistentRead=True,
    )["Item"]
    return str(item["state"]["S"])


def until_done(stack: Stack, *job_ids: str, seconds: float = 90) -> None:
    """Wait for the end of these jobs; a job that waits for a moment is looked at by the owner of time all the while."""

    def done() -> bool:
        found = {job_id: job_state(stack, job_id) for job_id in job_ids}
        assert "failed" not in found.values(), found
        if set(found.values()) == {"done"}:
            return True
        stack.deadlines()
        return False

    wait_for(done, f"{', '.join(job_ids)} to be done", seconds)


# --- levels ----------------------------------------------------------------------------------------------------------


def levels(stack: Stack, sku: str) -> Any:
    return stack.console("GET", f"/skus/{sku}/stock", role="auditor").body


def until_levels(stack: Stack, sku: str, seconds: float = 20, **wanted: int) -> Any:
    last: dict[str, Any] = {}

    def there() -> bool:
        last.update(levels(stack, sku))
        return wanted.items() <= last["levels"].items()

    try:
        wait_for(there, f"{wanted} of {sku}", seconds)
    except AssertionError as error:
        raise AssertionError(f"{error}; it shows {last}") from None
    return last


def cards(stack: Stack, **having: Any) -> list[dict[str, Any]]:
    """The cards that have these values, as the table has them."""
    return [card for card in stack.table("cards") if having.items() <= card.items()]


def states(stack: Stack, card_ids: Sequence[str]) -> dict[str, str]:
    wanted = set(card_ids)
    return {card["card_id"]: card["state"] for card in stack.table("cards") if card["card_id"] in wanted}
