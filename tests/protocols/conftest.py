import pytest

from shared.suppliers import wire


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """We wait half a second for a supplier; the faults that are slow take longer."""
    monkeypatch.setattr(wire, "TIMEOUT", 0.5)
