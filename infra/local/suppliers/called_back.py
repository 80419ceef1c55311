"""Suppliers who send their notifications to one address, which the customer sets in the supplier's own console."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from infra.local.suppliers import common, ledger
from infra.local.suppliers.common import Supplier


class CalledBack(Supplier):
    """Orders that are made from now on are told to `callback_url`; to nobody while that is ""."""

    schema = ledger.SCHEMA + "CREATE TABLE IF NOT EXISTS console (callback_url TEXT NOT NULL);"

    @property
    def callback_url(self) -> str:
        with self.store.transaction() as db:
            row = db.execute("SELECT callback_url FROM console").fetchone()
            return str(row["callback_url"]) if row else ""

    def _managed(self, method: str, what: str, wanted: dict[str, Any], query: Mapping[str, str]) -> dict[str, Any]:
        if (method, what) != ("POST", "callback_url"):
            return super()._managed(method, what, wanted, query)
        address = wanted["callback_url"]
        if address and urlsplit(address).scheme not in ("http", "https"):
            raise ValueError("an address, or nothing")
        with self.store.transaction() as db:
            db.execute("DELETE FROM console")
            db.execute("INSERT INTO console VALUES (?)", (address,))
        return {"callback_url": address}

    @staticmethod
    def call_back(url: str, callback_url: str) -> None:
        """Set the address in the console of the supplier at `url`; "" for none."""
        common._call(f"{url}/_/callback_url", {"callback_url": callback_url})
