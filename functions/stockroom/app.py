"""HTTP: stock, lots, cards, terms, channels, recalls <- operators."""

from shared.catalog.contract import SetTerms, TermsView
from shared.catalog.errors import FloorAboveQuota, NoStockToShare, UnknownSku
from shared.channels.contract import ChannelList, CreateChannel, KeyView, NewKey
from shared.channels.errors import ChannelTaken, TooManyChannels, TooManyKeys, UnknownChannel
from shared.insights.contract import NearPage, NearQuery, StockPage, StockQuery, StockView
from shared.inventory.contract import (
    BuyersOrders,
    CardView,
    FindBuyer,
    LotCardsQuery,
    LotDetail,
    LotList,
    LotsQuery,
    Page,
    TracedCards,
)
from shared.jobs.contract import AskRecall, RecalledCards, RecalledCardsQuery, RecallList, RecallView
from shared.kernel import clock
from shared.kernel.errors import Busy, InvalidRequest, NotFound
from shared.kernel.http import Caller, answers, door, entry
from shared.orders.errors import NoContact
from shared.staff.permissions import may
from shared.steps import card_views, channels, recalls, stock_levels, stock_terms, trace

app = door("stockroom")


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
@answers(BuyersOrders, takes=FindBuyer, permission=may("buyers.find"), refusals=(NoContact,))
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
