"""Access tokens: proof that one may see an order, computed and never stored."""

from __future__ import annotations

import base64
import hmac

from shared.kernel import keyring
from shared.kernel.errors import NotFound

_PURPOSE = "access-token"


def access_token(order_id: str) -> str:
    people = keyring.ring("PEOPLE_SECRET")
    return f"{people.current}.{_proof(people, order_id, people.current)}"


def check_access(order_id: str, token: str) -> None:
    """Raise NotFound unless the token is this order's; the same answer as for an order that does not exist."""
    number, _, proof = token.partition(".")
    people = keyring.ring("PEOPLE_SECRET")
    try:
        expected = _proof(people, order_id, number)
    except KeyError:
        raise NotFound from None
    if not hmac.compare_digest(expected.encode(), proof.encode()):
        raise NotFound


def _proof(people: keyring.Ring, order_id: str, number: str) -> str:
    return base64.urlsafe_b64encode(people.mac(_PURPOSE, order_id.encode(), number)).decode().rstrip("=")
