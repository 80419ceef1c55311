"""HTTP: what takes two people or an owner: exports, keys, destroyed lots, who has looked <- operators."""

from shared.inventory.contract import (
    DestroyLot,
    ExportList,
    ExportView,
    KeyJobView,
    LookList,
    Page,
    RequestExport,
    Rotate,
)
from shared.inventory.errors import LotDestroyed, OwnRequest
from shared.jobs.errors import KeyReused, WrongJobState
from shared.kernel import clock
from shared.kernel.errors import Busy, InvalidRequest, NotFound
from shared.kernel.http import Caller, answers, door, entry
from shared.staff.permissions import may
from shared.steps import card_views, exports, keys

app = door("vault_desk")


@app.route("/console/staff/{name}/views")
@answers(LookList, query=Page, permission=may("views.read"))
def show_views(name: str, query: Page) -> LookList:
    """Show which codes a member of staff has looked at, the latest first."""
    return card_views.seen_by(name, query.cursor)


@app.route("/console/exports", methods=["POST"])
@answers(
    ExportView,
    status=201,
    takes=RequestExport,
    permission=may("cards.export"),
    refusals=(InvalidRequest, NotFound, LotDestroyed, KeyReused),
)
def ask_for_export(body: RequestExport, idempotency_key: str, caller: Caller) -> ExportView:
    """Ask for a file of codes; another person has to approve."""
    return exports.ask(body, idempotency_key, caller, clock.now())


@app.route("/console/exports")
@answers(ExportList, permission=may("cards.read"))
def list_exports() -> ExportList:
    """List the latest exports: who asked, who decided, and what waits for a decision."""
    return exports.latest()


@app.route("/console/exports/{export_id}")
@answers(ExportView, permission=may("cards.read"), refusals=(NotFound,))
def show_export(export_id: str) -> ExportView:
    """Show how far an export is."""
    return exports.show(export_id)


@app.route("/console/exports/{export_id}/approve", methods=["POST"])
@answers(ExportView, permission=may("exports.approve"), refusals=(NotFound, OwnRequest, WrongJobState, Busy))
def approve_export(export_id: str, caller: Caller) -> ExportView:
    """Let the file be made that somebody else has asked for."""
    return exports.approve(export_id, caller, clock.now())


@app.route("/console/exports/{export_id}/refuse", methods=["POST"])
@answers(ExportView, permission=may("exports.approve"), refusals=(NotFound, WrongJobState, Busy))
def refuse_export(export_id: str, caller: Caller) -> ExportView:
    """Let the file not be made."""
    return exports.refuse(export_id, caller, clock.now())


@app.route("/console/keys/rotate", methods=["POST"])
@answers(
    KeyJobView,
    status=201,
    takes=Rotate,
    permission=may("keys.rotate"),
    refusals=(InvalidRequest, NotFound, LotDestroyed, KeyReused, Busy),
)
def rotate_keys(body: Rotate, idempotency_key: str, caller: Caller) -> KeyJobView:
    """Give a lot another key, wrap all keys anew, or write all fingerprints under a new pepper."""
    return keys.rotate(body, idempotency_key, caller, clock.now())


@app.route("/console/keys/rotations/{job_id}")
@answers(KeyJobView, permission=may("views.read"), refusals=(NotFound,))
def show_rotation(job_id: str) -> KeyJobView:
    """Show how far a change of keys, or the destruction of a lot, is."""
    return keys.show(job_id)


@app.route("/console/keys/rotations/{job_id}/retire", methods=["POST"])
@answers(KeyJobView, permission=may("keys.rotate"), refusals=(NotFound, WrongJobState, Busy))
def retire_pepper(job_id: str) -> KeyJobView:
    """Forget the peppers before the one that this job has brought in."""
    return keys.retire(job_id, clock.now())


@app.route("/console/lots/{lot_id}/destroy", methods=["POST"])
@answers(
    KeyJobView,
    status=201,
    takes=DestroyLot,
    permission=may("lots.destroy"),
    refusals=(NotFound, LotDestroyed, KeyReused),
)
def ask_for_destruction(lot_id: str, body: DestroyLot, idempotency_key: str, caller: Caller) -> KeyJobView:
    """Ask that nobody can read a code of this lot again; another owner has to approve."""
    return keys.ask_destruction(lot_id, body, idempotency_key, caller, clock.now())


@app.route("/console/destructions/{job_id}/approve", methods=["POST"])
@answers(KeyJobView, permission=may("lots.destroy"), refusals=(NotFound, OwnRequest, WrongJobState, Busy))
def approve_destruction(job_id: str, caller: Caller) -> KeyJobView:
    """Write off what is unsold of a lot, and forget its keys for ever."""
    return keys.approve_destruction(job_id, caller, clock.now())


@app.route("/console/destructions/{job_id}/refuse", methods=["POST"])
@answers(KeyJobView, permission=may("lots.destroy"), refusals=(NotFound, WrongJobState, Busy))
def refuse_destruction(job_id: str, caller: Caller) -> KeyJobView:
    """Let the lot be."""
    return keys.refuse_destruction(job_id, caller, clock.now())


handler = entry(app)
