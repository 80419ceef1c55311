"""HTTP: stock, lots, imports, recalls <- operators."""

from shared.catalog.contract import SetTerms, TermsView
from shared.catalog.errors import FloorAboveQuota, NoStockToShare, NotForSale, UnknownSku
from shared.channels.contract import ChannelList, CreateChannel, KeyView, NewKey
from shared.channels.errors import ChannelTaken, TooManyChannels, TooManyKeys, UnknownChannel
from shared.insights.contract import NearPage, NearQuery, StockPage, StockQuery, StockView
from shared.inventory.contract import (
    BuyersOrders,
    CardView,
    DestroyLot,
    ExportList,
    ExportView,
    FindBuyer,
    KeyJobView,
    LookList,
    LotCardsQuery,
    LotDetail,
    LotList,
    LotsQuery,
    Page,
    RequestExport,
    Rotate,
    TracedCards,
)
from shared.inventory.errors import LotDestroyed, OwnRequest
from shared.jobs.contract import (
    AskRecall,
    CreateImport,
    ImportCreated,
    ImportList,
    ImportView,
    RecalledCards,
    RecalledCardsQuery,
    RecallList,
    RecallView,
)
from shared.jobs.errors import CardsGone, KeyReused, NotUndone, RecalledMeanwhile, WrongJobState
from shared.kernel import clock
from shared.kernel.errors import Busy, InvalidRequest, NotFound
from shared.kernel.http import Caller, answers, door, entry
from shared.orders.errors import NoContact
from shared.staff.permissions import may
from shared.steps import card_views, channels, exports, imports, keys, recalls, stock_levels, stock_terms, trace

app = door("stockroom")


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
@answers(ImportView, permission=may("cards.import"), refusals=(NotFound, WrongJobState, Busy))
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


@app.route("/console/skus/{sku}/terms")
@answers(TermsView, permission=may("cards.read"), refusals=(UnknownSku,))
def show_terms(sku: str) -> TermsView:
    """Show how a SKU's stock is shared out, and what lies aside now."""
    return stock_terms.show(sku)


@app.route("/console/skus/{sku}/terms", methods=["POST"])
@answers(
    TermsView,
    takes=SetTerms,
    permission=may("stock.write"),
    refusals=(UnknownSku, UnknownChannel, NoStockToShare, FloorAboveQuota, Busy),
)
def set_terms(sku: str, body: SetTerms, caller: Caller) -> TermsView:
    """Share a SKU's stock out anew: what is left out means no limit, whatever was set before."""
    return stock_terms.set_terms(sku, body, caller.name, clock.now())


@app.route("/console/channels")
@answers(ChannelList, permission=may("cards.read"))
def list_channels() -> ChannelList:
    """List who else sells from our stock."""
    return channels.show_all()


@app.route("/console/channels", methods=["POST"])
@answers(
    NewKey,
    status=201,
    takes=CreateChannel,
    permission=may("channels.write"),
    refusals=(ChannelTaken, TooManyChannels, Busy),
)
def create_channel(body: CreateChannel, caller: Caller) -> NewKey:
    """Create a channel; its key is shown this once."""
    return channels.create(body, caller.name, clock.now())


@app.route("/console/channels/{channel}/keys", methods=["POST"])
@answers(NewKey, status=201, permission=may("channels.write"), refusals=(NotFound, TooManyKeys, Busy))
def create_channel_key(channel: str, caller: Caller) -> NewKey:
    """Create a second key, to take the place of the first; it is shown this once."""
    return channels.add_key(channel, caller.name, clock.now())


@app.route("/console/channels/{channel}/keys/{key_id}/revoke", methods=["POST"])
@answers(KeyView, permission=may("channels.write"), refusals=(NotFound, Busy))
def revoke_channel_key(channel: str, key_id: str, caller: Caller) -> KeyView:
    """Make a key worthless within a minute."""
    return channels.revoke(channel, key_id, caller.name, clock.now())


@app.route("/console/cards/{card_id}")
@answers(CardView, query=Page, permission=may("cards.read"), refusals=(NotFound,))
def show_card(card_id: str, query: Page) -> CardView:
    """Show a card as staff may see it, and who has looked at its code."""
    return card_views.card(card_id, query.cursor)


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
    refusals=(NotFound, LotDestroyed, KeyReused),
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
    refusals=(NotFound, LotDestroyed, KeyReused, Busy),
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


@app.route("/console/lots")
@answers(LotList, query=LotsQuery, permission=may("cards.read"), refusals=(InvalidRequest,))
def list_lots(query: LotsQuery) -> LotList:
    """List the lots of a supplier, the latest first, or of a purchase."""
    return trace.lots(query)


@app.route("/console/lots/{lot_id}")
@answers(LotDetail, permission=may("cards.read"), refusals=(NotFound,))
def show_lot(lot_id: str) -> LotDetail:
    """Show where a lot came from and what has become of its cards."""
    return trace.lot(lot_id)


@app.route("/console/lots/{lot_id}/cards")
@answers(TracedCards, query=LotCardsQuery, permission=may("cards.read"), refusals=(NotFound,))
def list_lot_cards(lot_id: str, query: LotCardsQuery) -> TracedCards:
    """List the cards of a lot, masked, with the orders that have them."""
    return trace.lot_cards(lot_id, query.cursor)


@app.route("/console/buyers/search", methods=["POST"])
@answers(BuyersOrders, takes=FindBuyer, permission=may("cards.read"), refusals=(NoContact,))
def find_buyer(body: FindBuyer, caller: Caller) -> BuyersOrders:
    """Find what a phone number or an e-mail address has ordered, and which cards it got."""
    return trace.buyer(body, caller.name)


@app.route("/console/recalls", methods=["POST"])
@answers(
    RecallView,
    status=201,
    takes=AskRecall,
    permission=may("cards.recall"),
    refusals=(InvalidRequest, NotFound, Busy),
)
def ask_recall(body: AskRecall, caller: Caller) -> RecallView:
    """Recall a lot, a purchase, or a supplier's deliveries of a period; again, it takes in what came since."""
    return recalls.ask(body, caller.name, clock.now())


@app.route("/console/recalls")
@answers(RecallList, permission=may("cards.read"))
def list_recalls() -> RecallList:
    """List the recalls, the latest first."""
    return recalls.recent()


@app.route("/console/recalls/{recall_id}")
@answers(RecallView, permission=may("cards.read"), refusals=(NotFound,))
def show_recall(recall_id: str) -> RecallView:
    """Show how far a recall is."""
    return recalls.show(recall_id)


@app.route("/console/recalls/{recall_id}/cards")
@answers(RecalledCards, query=RecalledCardsQuery, permission=may("cards.read"), refusals=(NotFound,))
def list_recalled_cards(recall_id: str, query: RecalledCardsQuery) -> RecalledCards:
    """List the sold cards of a recall and what became of each."""
    return recalls.cards(recall_id, query.cursor)


@app.route("/console/skus/{sku}/stock")
@answers(StockView, permission=may("cards.read"), refusals=(UnknownSku,))
def show_stock(sku: str) -> StockView:
    """Show how many cards of a SKU are in which state, per channel, and how many will soon expire."""
    return stock_levels.of(sku)


@app.route("/console/stock")
@answers(StockPage, query=StockQuery, permission=may("cards.read"))
def list_stock(query: StockQuery) -> StockPage:
    """List the levels of all SKUs, or of those that are low."""
    return stock_levels.page(query)


@app.route("/console/stock/near-expiry")
@answers(NearPage, query=NearQuery, permission=may("cards.read"))
def list_near_expiry(query: NearQuery) -> NearPage:
    """List the SKUs with cards that will soon expire, as of last night."""
    return stock_levels.near_expiry(query)


handler = entry(app)
