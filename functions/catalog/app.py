"""HTTP: what is for sale."""

from shared.catalog.contract import Health, Product, ProductPage, ProductQuery
from shared.catalog.errors import UnknownProduct
from shared.kernel import clock
from shared.kernel.http import answers, door, entry
from shared.steps import catalog

app = door("catalog")


@app.route("/products")
@answers(ProductPage, query=ProductQuery)
def list_products(query: ProductQuery) -> ProductPage:
    """List products, or search them by words, pinyin, initials or SKU."""
    return catalog.products(query)


@app.route("/products/{product_id}")
@answers(Product, refusals=(UnknownProduct,))
def show_product(product_id: str) -> Product:
    """Show one product and what of it is available."""
    return catalog.product(product_id, clock.now())


@app.route("/health")
@answers(Health)
def health() -> Health:
    """Say that the platform answers."""
    return catalog.health()


handler = entry(app)
