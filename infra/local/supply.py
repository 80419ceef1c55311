"""The local shop's suppliers: stand-ins that only pretend to sell, let in through the console like anybody else.

Nobody is let in by a short cut: two people do here what two people do anywhere. What is not real are the papers, and
each says so in its first line.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from infra.local import client
from infra.local.background import Failed
from infra.local.client import Shop
from infra.local.suppliers.common import Product, Supplier
from infra.local.suppliers.ledger import TOP_UP

PAPER = "这不是真实证件，仅供本机模拟。 This is no document: it stands for one on this machine alone.\n"
PHONE = ({"key": "mobile", "name": "手机号", "required": True},)


@dataclass(frozen=True)
class Local:
    """A supplier of the local shop. sells: by our SKU, which brand that is, and what it is with him."""

    code: str
    kind: str
    name: str
    seed: int
    sells: Mapping[str, tuple[str, Product]]

    @property
    def company(self) -> str:
        return f"{self.name}（本机模拟）有限公司"


SUPPLIERS = (
    Local(
        "haoka",
        "dujiao",
        "好卡",
        11,
        {
            "V013": ("芒果TV", Product("1", "芒果TV会员 月卡", 13_600_000, stock=500)),
            "M014": ("网易云音乐", Product("2", "网易云音乐 黑胶VIP 月", 12_500_000, TOP_UP, fields=PHONE)),
        },
    ),
    Local(
        "suka",
        "kasushou",
        "速卡",
        12,
        {
            "V013": ("芒果TV", Product("1", "芒果TV会员 月卡", 13_900_000, stock=500)),
            "M014": ("网易云音乐", Product("2", "网易云音乐 黑胶VIP 月", 12_200_000, TOP_UP, fields=PHONE)),
        },
    ),
)
"""Each is the cheaper one of something that the sample has no stock of: a card, and a top-up."""


def let_in(one: Local, url: str, given: Mapping[str, Any], owner: Shop, operator: Shop) -> str:
    """Let the stand-in at `url` in, and say which SKUs it sells; again, only what is not yet done. What it came to.

    given: its terms and keys, as it has written them down.
    """
    Supplier.put_products(url, [product for _, product in one.sells.values()])
    path = f"/console/suppliers/{one.code}"
    saved = {"kind": one.kind, "name": one.name, "company": one.company, "terms": given["terms"]}
    known = owner.call("PUT", path, saved)
    if not known["key_sets"]:
        owner.call("POST", f"{path}/keys", {"keys": given["keys"]})
    checked = owner.call("POST", f"{path}/check")
    if not checked["answers"]:
        raise Failed(f"the {one.kind} stand-in does not answer as it should at {url}")
    if known["supplier"]["standing"] != "approved":
        show_papers(one.company, {brand for brand, _ in one.sells.values()}, path, known, owner, operator)
        operator.call("POST", f"{path}/review")
        owner.call("POST", f"{path}/approve")
    owner.call("POST", f"{path}/sync")
    _map(one, owner)
    return f"{one.code} ({one.kind}): we have {client.money(checked['balance'])}"


def show_papers(
    company: str, brands: Iterable[str], path: str, known: Mapping[str, Any], owner: Shop, operator: Shop
) -> None:
    """Show what of his papers is missing: one person brings each, another accepts it. known: his dossier, at `path`."""
    wanted: list[dict[str, Any]] = [{"paper": paper} for paper in known["missing"]]
    shown = {brand["brand"] for brand in known["supplier"]["brands"]}
    wanted += [
        {"paper": "authorisation", "brand": brand, "issued_by": f"{brand}（本机模拟）", "from_owner": True}
        for brand in sorted(brands)
        if brand.casefold() not in shown
    ]
    for paper in wanted:
        asked = owner.call("POST", f"{path}/documents", {**paper, "file_name": "simulated.pdf", "issued_to": company})
        client.put(asked["upload_url"], PAPER.encode())
        document = f"{path}/documents/{asked['document_id']}"
        owner.call("POST", f"{document}/received")
        operator.call("POST", f"{document}/accept")


def _map(one: Local, owner: Shop) -> None:
    found = owner.call("GET", f"/console/offers?supplier={one.code}&mapped=no&limit=100")["offers"]
    for sku, (_, product) in one.sells.items():
        # Some kinds write what it is behind the name.
        offer = next((his for his in found if f"{his['title']} ".startswith(f"{product.name} ")), None)
        if offer:
            fills = {field["name"]: "phone" for field in offer["fields"]}  # without them, he is asked for his fields
            body = {"product": offer["product"], "sku": sku, "fills": fills}
            owner.call("POST", f"/console/offers/{one.code}/map", body)
