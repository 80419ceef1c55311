"""HTTP: card files and catalogues come in: asked for, checked, run, stopped, taken back <- operators."""

from shared.catalog.errors import NotForSale, UnknownSku
from shared.jobs.contract import CreateImport, ImportCreated, ImportList, ImportView
from shared.jobs.errors import (
    CardsGone,
    CardsRest,
    KeyReused,
    NotTakenFromHim,
    NotUndone,
    RecalledMeanwhile,
    WrongJobState,
)
from shared.kernel import clock
from shared.kernel.errors import Busy, NotFound
from shared.kernel.http import Caller, answers, door, entry
from shared.staff.permissions import may
from shared.steps import imports

app = door("imports")


@app.route("/console/imports", methods=["POST"])
@answers(
    ImportCreated,
    status=201,
    takes=CreateImport,
    permission=may("cards.import"),
    refusals=(UnknownSku, NotForSale, KeyReused),
)
def create_import(body: CreateImport, idempotency_key: str, caller: Caller) -> ImportCreated:
    """Ask for an import of cards or of the catalogue, and for the address that takes its file."""
    return imports.create(body, idempotency_key, caller, clock.now())


@app.route("/console/imports")
@answers(ImportList, permission=may("cards.read"))
def list_imports(caller: Caller) -> ImportList:
    """List the latest imports."""
    return imports.latest(caller, clock.now())


@app.route("/console/imports/{job_id}")
@answers(ImportView, permission=may("cards.read"), refusals=(NotFound,))
def show_import(job_id: str, caller: Caller) -> ImportView:
    """Show how far an import is, and what it has found."""
    return imports.show(job_id, caller, clock.now())


@app.route("/console/imports/{job_id}/check", methods=["POST"])
@answers(ImportView, permission=may("cards.import"), refusals=(NotFound, WrongJobState, Busy))
def check_import(job_id: str, caller: Caller) -> ImportView:
    """Read the uploaded file and compare it with everything ever imported or sold."""
    return imports.check(job_id, caller, clock.now())


@app.route("/console/imports/{job_id}/run", methods=["POST"])
@answers(
    ImportView,
    permission=may("cards.import"),
    refusals=(NotFound, WrongJobState, CardsRest, NotTakenFromHim, Busy),
)
def run_import(job_id: str, caller: Caller) -> ImportView:
    """Take in what the check has found to be new."""
    return imports.run(job_id, caller, clock.now())


@app.route("/console/imports/{job_id}/cancel", methods=["POST"])
@answers(ImportView, permission=may("cards.import"), refusals=(NotFound, WrongJobState, Busy))
def cancel_import(job_id: str, caller: Caller) -> ImportView:
    """Stop an import at once; the answer says how many rows are in."""
    return imports.cancel(job_id, caller, clock.now())


@app.route("/console/imports/{job_id}/undo", methods=["POST"])
@answers(
    ImportView,
    permission=may("cards.import"),
    refusals=(NotFound, WrongJobState, NotUndone, CardsGone, RecalledMeanwhile, Busy),
)
def undo_import(job_id: str, caller: Caller) -> ImportView:
    """Take a whole import back out of stock while none of it is held or sold."""
    return imports.undo(job_id, caller, clock.now())


handler = entry(app)
