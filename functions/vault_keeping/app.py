"""Queue: approved exports, new keys, new fingerprints, destroyed lots -> done, with progress."""

from shared.kernel.events import each_message
from shared.steps import vault_keeping

handler = each_message(vault_keeping.work)
