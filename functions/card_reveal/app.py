"""HTTP: the only door that can decrypt a code."""

from chalice.app import Response

from shared.inventory.contract import ExportSecret, RevealCard, RevealedCode
from shared.inventory.errors import CodeUnreadable, ExportOpened, LotDestroyed, NotYours, RevealLimit
from shared.jobs.contract import RefusedQuery
from shared.jobs.errors import LinkOver, WrongJobState
from shared.kernel import clock
from shared.kernel.errors import Busy, NotFound, TooManyTries
from shared.kernel.http import Caller, answers, csv_file, door, entry
from shared.orders.contract import RevealView
from shared.orders.errors import NotDelivered, NotOpen
from shared.staff.permissions import may
from shared.steps import access, card_reveal, exports, refused_rows

app = door("card_reveal")


@app.route("/orders/{order_id}/reveal", methods=["POST"])
@answers(
    RevealView,
    secured="buyer",
    refusals=(NotFound, TooManyTries, NotDelivered, NotOpen, LotDestroyed, CodeUnreadable),
)
def reveal(order_id: str, caller: Caller) -> RevealView:
    """Show the codes of a delivered order; each look is recorded."""
    now = clock.now()
    access.check(order_id, caller, now)
    return card_reveal.reveal(order_id, caller, now)


@app.route("/console/cards/{card_id}/reveal", methods=["POST"])
@answers(
    RevealedCode,
    takes=RevealCard,
    permission=may("cards.reveal"),
    refusals=(NotFound, LotDestroyed, RevealLimit, CodeUnreadable, Busy),
)
def reveal_card(card_id: str, body: RevealCard, caller: Caller) -> RevealedCode:
    """Show one code to a member of staff, who says why; counted, and recorded for ever."""
    return card_reveal.reveal_card(card_id, body, caller, clock.now())


@app.route("/console/exports/{export_id}/open", methods=["POST"])
@answers(
    ExportSecret,
    permission=may("cards.export"),
    refusals=(NotFound, NotYours, WrongJobState, ExportOpened, CodeUnreadable),
)
def open_export(export_id: str, caller: Caller) -> ExportSecret:
    """Show the password of an export, once and to its asker, with a link to the file."""
    return exports.open_file(export_id, caller, clock.now())


@app.route("/imports/{job_id}/refused")
@answers(query=RefusedQuery, refusals=(LinkOver,))
def refused_rows_of_import(job_id: str, query: RefusedQuery) -> Response:
    """Give the refused rows of an import as CSV, by the link that the import shows."""
    return csv_file(refused_rows.download(job_id, query, clock.now()), "refused.csv")


handler = entry(app)
