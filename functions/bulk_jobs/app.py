"""Queue: imports, their undoing and recalls, in parts, with progress."""

from shared.kernel.events import each_message
from shared.steps import bulk_jobs

handler = each_message(bulk_jobs.work)
