"""What the stand-ins for real payment providers have in common: a door, a post, faults, pages, and the command.

They are written from what a provider publishes, share no code with Kaquan, and meet it only at the wire.
"""

from infra.local.counterparts.counterpart import Counterpart
from infra.local.counterparts.letters import Letter
from infra.local.counterparts.web import RefusedError, Reply, Request, html_reply, json_reply

__all__ = ["Counterpart", "Letter", "RefusedError", "Reply", "Request", "html_reply", "json_reply"]
