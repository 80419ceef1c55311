"""The keys of our accounts with suppliers; see `key_sets`."""

from __future__ import annotations

from shared.kernel.key_sets import KeySets

_SETS = KeySets("supplier")
of, fresh, add, retire = _SETS.of, _SETS.fresh, _SETS.add, _SETS.retire
