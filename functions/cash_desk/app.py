"""HTTP: the operators' API of how money comes in: accounts with payment providers, their keys, how well they answer."""

from shared.kernel import clock
from shared.kernel.errors import Busy, InvalidRequest, NotFound
from shared.kernel.http import Caller, answers, door, entry
from shared.payments.contract import GiveKeys, MerchantChecked, MerchantList, MerchantView, SaveMerchant
from shared.payments.errors import TooManyMerchants
from shared.staff.permissions import may
from shared.steps import merchants

app = door("cash_desk")


@app.route("/console/merchants")
@answers(MerchantList, permission=may("merchants.read"))
def list_merchants(caller: Caller) -> MerchantList:
    """List the accounts with payment providers, and how well each provider answers."""
    return merchants.every(caller, clock.now())


@app.route("/console/merchants/{merchant}", methods=["PUT"])
@answers(
    MerchantView,
    takes=SaveMerchant,
    permission=may("merchants.write"),
    refusals=(InvalidRequest, TooManyMerchants, Busy),
)
def save_merchant(merchant: str, body: SaveMerchant, caller: Caller) -> MerchantView:
    """Add an account, or change its terms."""
    return merchants.save(merchant, body, caller, clock.now())


@app.route("/console/merchants/{merchant}/keys", methods=["POST"])
@answers(MerchantView, takes=GiveKeys, permission=may("merchants.write"), refusals=(InvalidRequest, NotFound))
def give_keys(merchant: str, body: GiveKeys, caller: Caller) -> MerchantView:
    """Give an account its keys, or new ones: those before stay valid until they are retired."""
    return merchants.give_keys(merchant, body, caller, clock.now())


@app.route("/console/merchants/{merchant}/keys/retire", methods=["POST"])
@answers(MerchantView, permission=may("merchants.write"), refusals=(NotFound,))
def retire_keys(merchant: str, caller: Caller) -> MerchantView:
    """Let only the newest keys be valid."""
    return merchants.retire_keys(merchant, caller, clock.now())


@app.route("/console/merchants/{merchant}/check", methods=["POST"])
@answers(MerchantChecked, permission=may("merchants.write"), refusals=(NotFound,))
def check_merchant(merchant: str) -> MerchantChecked:
    """Ask the provider something harmless: a signed answer proves address, terms and keys."""
    return merchants.check(merchant, clock.now())


handler = entry(app)
