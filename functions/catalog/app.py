"""HTTP: what is for sale."""

from shared.kernel.http import answers, door, entry

app = door("catalog")


@app.route("/health")
@answers()
def health() -> dict[str, str]:
    """Say that the platform answers."""
    return {"status": "ok"}


handler = entry(app)
