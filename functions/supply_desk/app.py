"""HTTP: the operators' API of who sells to us: suppliers, their keys and documents, who lets them in <- operators."""

from shared.jobs.errors import KeyReused
from shared.kernel import clock
from shared.kernel.errors import Busy, InvalidRequest, NotFound
from shared.kernel.http import Caller, answers, door, entry
from shared.staff.permissions import may
from shared.steps import supplier_admission, supplier_scores, suppliers
from shared.suppliers.contract import (
    AskDocument,
    DocumentAsked,
    GiveSupplierKeys,
    SaveSupplier,
    SayWhy,
    SupplierChecked,
    SupplierDossier,
    SupplierList,
)
from shared.suppliers.errors import (
    NothingUploaded,
    OrdersOut,
    PapersMissing,
    SamePerson,
    TooManyDocuments,
    TooManySuppliers,
    UnknownSupplier,
    WrongDocumentState,
    WrongStanding,
)
from shared.suppliers.score_contract import ClearScore, SupplierScores

app = door("supply_desk")

ONE = "/console/suppliers/{supplier}"
DOCUMENT = f"{ONE}/documents/{{document_id}}"


@app.route("/console/suppliers")
@answers(SupplierList, permission=may("suppliers.read"))
def list_suppliers(caller: Caller) -> SupplierList:
    """List the suppliers: whether they are let in, and whether anything is bought from them now."""
    return suppliers.every(caller, clock.now())


@app.route(ONE)
@answers(SupplierDossier, permission=may("suppliers.read"), refusals=(UnknownSupplier,))
def show_supplier(supplier: str, caller: Caller) -> SupplierDossier:
    """Show a supplier, and the documents that he has shown us."""
    return suppliers.show(supplier, caller, clock.now())


@app.route(ONE, methods=["PUT"])
@answers(
    SupplierDossier,
    takes=SaveSupplier,
    permission=may("suppliers.write"),
    refusals=(InvalidRequest, TooManySuppliers, OrdersOut, Busy),
)
def save_supplier(supplier: str, body: SaveSupplier, caller: Caller) -> SupplierDossier:
    """Add a supplier, or change his terms: two people look again where that changes what was looked at."""
    return suppliers.save(supplier, body, caller, clock.now())


@app.route(f"{ONE}/keys", methods=["POST"])
@answers(
    SupplierDossier,
    takes=GiveSupplierKeys,
    permission=may("suppliers.write"),
    refusals=(InvalidRequest, UnknownSupplier),
)
def give_keys(supplier: str, body: GiveSupplierKeys, caller: Caller) -> SupplierDossier:
    """Give our account with a supplier its keys, or new ones: those before stay valid until they are retired."""
    return suppliers.give_keys(supplier, body, caller, clock.now())


@app.route(f"{ONE}/keys/retire", methods=["POST"])
@answers(SupplierDossier, permission=may("suppliers.write"), refusals=(UnknownSupplier, OrdersOut))
def retire_keys(supplier: str, caller: Caller) -> SupplierDossier:
    """Let only the newest keys be valid."""
    return suppliers.retire_keys(supplier, caller, clock.now())


@app.route(f"{ONE}/check", methods=["POST"])
@answers(SupplierChecked, permission=may("suppliers.write"), refusals=(UnknownSupplier,))
def check_supplier(supplier: str) -> SupplierChecked:
    """Ask a supplier for our balance: a signed answer proves address, terms and keys."""
    return suppliers.check(supplier, clock.now())


@app.route(f"{ONE}/pause", methods=["POST"])
@answers(SupplierDossier, permission=may("suppliers.write"), refusals=(UnknownSupplier,))
def pause_supplier(supplier: str, caller: Caller) -> SupplierDossier:
    """Send no new purchases to a supplier."""
    return suppliers.pause(supplier, caller, clock.now())


@app.route(f"{ONE}/resume", methods=["POST"])
@answers(SupplierDossier, permission=may("suppliers.write"), refusals=(UnknownSupplier, Busy))
def resume_supplier(supplier: str, caller: Caller) -> SupplierDossier:
    """Take a pause, or a stop of the platform's own, away: somebody has looked."""
    return suppliers.resume(supplier, caller, clock.now())


@app.route(f"{ONE}/documents", methods=["POST"])
@answers(
    DocumentAsked,
    status=201,
    takes=AskDocument,
    permission=may("suppliers.write"),
    refusals=(InvalidRequest, UnknownSupplier, TooManyDocuments, KeyReused),
)
def ask_document(supplier: str, body: AskDocument, idempotency_key: str, caller: Caller) -> DocumentAsked:
    """Say what a document is, and get the address that takes its file."""
    return supplier_admission.ask(supplier, body, idempotency_key, caller, clock.now())


@app.route(f"{DOCUMENT}/received", methods=["POST"])
@answers(SupplierDossier, permission=may("suppliers.write"), refusals=(UnknownSupplier, NotFound, NothingUploaded))
def receive_document(supplier: str, document_id: str, caller: Caller) -> SupplierDossier:
    """Keep the uploaded file, by its hash."""
    return supplier_admission.received(supplier, document_id, caller, clock.now())


@app.route(f"{DOCUMENT}/accept", methods=["POST"])
@answers(
    SupplierDossier,
    permission=may("suppliers.write"),
    refusals=(UnknownSupplier, NotFound, SamePerson, WrongDocumentState, Busy),
)
def accept_document(supplier: str, document_id: str, caller: Caller) -> SupplierDossier:
    """Say that a document is what it says; another person than the one who brought it."""
    return supplier_admission.accept(supplier, document_id, caller, clock.now())


@app.route(f"{DOCUMENT}/reject", methods=["POST"])
@answers(
    SupplierDossier,
    takes=SayWhy,
    permission=may("suppliers.write"),
    refusals=(UnknownSupplier, NotFound, WrongDocumentState, Busy),
)
def reject_document(supplier: str, document_id: str, body: SayWhy, caller: Caller) -> SupplierDossier:
    """Say that a document proves nothing, or not any more."""
    return supplier_admission.reject(supplier, document_id, body, caller, clock.now())


@app.route(f"{ONE}/review", methods=["POST"])
@answers(
    SupplierDossier,
    permission=may("suppliers.write"),
    refusals=(UnknownSupplier, WrongStanding, PapersMissing, Busy),
)
def review_supplier(supplier: str, caller: Caller) -> SupplierDossier:
    """Say, as the first of two, that a supplier can be let in."""
    return supplier_admission.review(supplier, caller, clock.now())


@app.route(f"{ONE}/approve", methods=["POST"])
@answers(
    SupplierDossier,
    permission=may("suppliers.approve"),
    refusals=(UnknownSupplier, WrongStanding, PapersMissing, SamePerson, Busy),
)
def approve_supplier(supplier: str, caller: Caller) -> SupplierDossier:
    """Let a supplier in, as the second of two."""
    return supplier_admission.approve(supplier, caller, clock.now())


@app.route(f"{ONE}/refuse", methods=["POST"])
@answers(
    SupplierDossier, takes=SayWhy, permission=may("suppliers.approve"), refusals=(UnknownSupplier, WrongStanding, Busy)
)
def refuse_supplier(supplier: str, body: SayWhy, caller: Caller) -> SupplierDossier:
    """Do not let a supplier in."""
    return supplier_admission.refuse(supplier, body, caller, clock.now())


@app.route(f"{ONE}/suspend", methods=["POST"])
@answers(
    SupplierDossier, takes=SayWhy, permission=may("suppliers.write"), refusals=(UnknownSupplier, WrongStanding, Busy)
)
def suspend_supplier(supplier: str, body: SayWhy, caller: Caller) -> SupplierDossier:
    """Send nothing to a supplier until two people have let him in again."""
    return supplier_admission.suspend(supplier, body, caller, clock.now())


@app.route(f"{ONE}/scores")
@answers(SupplierScores, permission=may("suppliers.read"), refusals=(UnknownSupplier,))
def show_scores(supplier: str) -> SupplierScores:
    """Show how far a supplier is trusted in each family of SKUs, and every change of it with its reason."""
    return supplier_scores.shown(supplier)


# The family is named in the body: what a seller calls his categories may hold any character.
@app.route(f"{ONE}/scores/clear", methods=["POST"])
@answers(
    SupplierScores,
    takes=ClearScore,
    permission=may("suppliers.approve"),
    refusals=(UnknownSupplier, NotFound, Busy),
)
def clear_score(supplier: str, body: ClearScore, caller: Caller) -> SupplierScores:
    """Say that somebody has looked at what stands against a supplier in a family: from now on his points decide."""
    return supplier_scores.clear(supplier, body.family, caller.name, clock.now())


handler = entry(app)
