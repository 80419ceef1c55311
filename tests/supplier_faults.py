"""What may go wrong between an adapter and any supplier, and what each must say of an order then."""

from __future__ import annotations

from shared.suppliers.supplier import Outcome, Reason
from tests.canned_http import Reset, Said, Script, Silence, said

SHORTLY = 0.3  # seconds: so long the tests wait for an answer that never comes

FAULTS: dict[str, tuple[Script, Outcome, Reason]] = {
    "silence": (Silence(), Outcome.UNKNOWN, Reason.SILENT),
    "reset": (Reset(), Outcome.UNKNOWN, Reason.SILENT),
    "cut short": (Said(200, b'{"ok":true,"code":200', promised=400), Outcome.UNKNOWN, Reason.SILENT),
    "500": (said({"ok": False, "code": 500, "error_code": "internal_error"}, 500), Outcome.UNKNOWN, Reason.SILENT),
    "502 page": (Said(502, b"<html>Bad Gateway</html>"), Outcome.UNKNOWN, Reason.SILENT),
    "429": (said({"code": "too_many_requests"}, 429), Outcome.RETRY, Reason.BUSY),
    "not JSON": (Said(200, b"<html>maintenance</html>"), Outcome.UNKNOWN, Reason.UNREADABLE),
    "empty": (Said(200, b""), Outcome.UNKNOWN, Reason.UNREADABLE),
    "a list": (said([]), Outcome.UNKNOWN, Reason.UNREADABLE),
    "an empty object": (said({}), Outcome.UNKNOWN, Reason.UNREADABLE),
    "done, and no order": (said({"ok": True, "code": 200}), Outcome.UNKNOWN, Reason.UNREADABLE),
    "redirect": (Said(302, b"", {"Location": "https://shop.example/"}), Outcome.UNKNOWN, Reason.UNREADABLE),
    "403 page": (Said(403, b"<html>Forbidden</html>"), Outcome.UNKNOWN, Reason.NOT_ALLOWED),
}
