"""Signed in at Reloadly's: a token, kept while it lives, and the calls that carry it."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from shared.suppliers import wire
from shared.suppliers.supplier import Account, Keys

AUTH_SITE = "https://auth.reloadly.com"
RENEWED_BEFORE = timedelta(minutes=5)
"""A token that ends within this time is not used: an order must not be refused half way."""


@dataclass
class Session:
    """until: when the token ends; None before the first."""

    account: Account
    keys: Sequence[Keys] = field(repr=False)
    token: str = field(default="", repr=False)
    until: datetime | None = None

    @property
    def line(self) -> str:
        return self.account.terms.get("line", "giftcards")

    @property
    def site(self) -> str:
        return self.account.terms.get("site") or f"https://{self.line}.reloadly.com"

    @property
    def _door(self) -> str:
        """Whoever is not Reloadly, such as a stand-in of theirs, is not to have us sign in there."""
        theirs = (urllib.parse.urlsplit(self.site).hostname or "").endswith(".reloadly.com")
        return AUTH_SITE if theirs else self.site

    def send(self, method: str, path: str, now: datetime, content: Mapping[str, Any] | None = None) -> wire.Reply:
        """The answer, or that of the sign-in where it was refused; raises NotSent without a token."""
        kept = self.until is not None and now < self.until - RENEWED_BEFORE
        if not kept and (refused := self._sign_in(now)):
            return refused
        body = None if content is None else json.dumps(content, separators=(",", ":")).encode()
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Accept": f"application/com.reloadly.{self.line}-v1+json",
            "Content-Type": "application/json",
        }
        reply = wire.call(method, self.site.rstrip("/") + path, body, headers, answer_max=wire.LIST_MAX)
        if reply.status == 401:
            self.until = None
            if kept:  # ended before its time; refused at the door, nothing was looked at
                raise wire.NotSent
        return reply

    def _sign_in(self, now: datetime) -> wire.Reply | None:
        """Keep a new token, or say how it was refused."""
        terms = self.account.terms
        asked_for = {
            "client_id": terms["client_id"],
            "client_secret": self.keys[0]["client_secret"],
            "grant_type": "client_credentials",
            "audience": terms.get("audience") or self.site,
        }
        address = (terms.get("auth_site") or self._door).rstrip("/") + "/oauth/token"
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        try:
            reply = wire.call("POST", address, json.dumps(asked_for).encode(), headers)
            if reply.status in (400, 401, 403):
                return reply._replace(status=401)
            found = wire.json_object(reply.body)
            token, lives = wire.text(found["access_token"], 8192), timedelta(seconds=wire.whole(found["expires_in"]))
        except (wire.NoAnswer, *wire.UNREADABLE):
            raise wire.NotSent from None  # of what was to be sent then
        self.token, self.until = token, now + lives
        return None
