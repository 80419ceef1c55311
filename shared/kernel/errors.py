"""How Kaquan says no: a refusal has a name, an HTTP status, sentences in zh and en, and says whether a retry helps.

Rendered as RFC 9457 problem details by `shared.kernel.http`. Capabilities declare theirs beside their rules.
"""

from __future__ import annotations

from typing import ClassVar


class Refusal(Exception):
    """The base of all refusals; `facts` fill the braces of the sentences and travel as members of the problem."""

    code: ClassVar[str] = "refused"
    status: ClassVar[int] = 400
    retryable: ClassVar[bool] = False
    zh: ClassVar[str] = "请求被拒绝。"
    en: ClassVar[str] = "The request was refused."

    def __init__(self, **facts: object) -> None:
        super().__init__(self.code, facts)
        self.facts = facts

    def sentence(self, language: str) -> str:
        return (self.en if language == "en" else self.zh).format_map(self.facts)

    def problem(self, language: str, request_id: str) -> dict[str, object]:
        """The RFC 9457 document; the type is a URN because Kaquan is self-hosted and owns no web address."""
        return {
            **self.facts,
            "type": f"urn:kaquan:problem:{self.code}",
            "title": self.code.replace("_", " "),
            "status": self.status,
            "code": self.code,
            "detail": self.sentence(language),
            "retryable": self.retryable,
            "request_id": request_id,
        }


class InvalidRequest(Refusal):
    """facts: fields, a list of {field, reason}; never the offending values, which may be secrets."""

    code, status = "invalid_request", 422
    zh = "请求内容有误，请检查标出的字段。"
    en = "The request is not valid; see the named fields."


class MalformedBody(Refusal):
    code, status = "malformed_body", 400
    zh = "请求体不是有效的 JSON。"
    en = "The body is not valid JSON."


class BodyTooLarge(Refusal):
    code, status = "body_too_large", 413
    zh = "请求体过大。"
    en = "The body is too large."


class NotFound(Refusal):
    code, status = "not_found", 404
    zh = "没有找到，或没有权限查看。"
    en = "Not found, or not yours to see."


class WrongMethod(Refusal):
    code, status = "method_not_allowed", 405
    zh = "该地址不支持此方法。"
    en = "This address does not take that method."


class WrongMediaType(Refusal):
    code, status = "unsupported_media_type", 415
    zh = "请以 application/json 发送。"
    en = "Send application/json."


class NotSignedIn(Refusal):
    code, status = "not_signed_in", 401
    zh = "请先登录。"
    en = "Sign in first."


class NotAllowed(Refusal):
    code, status = "not_allowed", 403
    zh = "您的角色没有此权限。"
    en = "Your role may not do this."


class TooManyTries(Refusal):
    code, status, retryable = "too_many_tries", 429, True
    zh = "尝试次数过多，请稍后再试。"
    en = "Too many tries; wait a little."


class Busy(Refusal):
    """Somebody else kept winning the race, or AWS is throttling: the same request may go through later."""

    code, status, retryable = "busy", 503, True
    zh = "系统繁忙，请稍后重试。"
    en = "Busy right now; try again shortly."


class Unexpected(Refusal):
    code, status, retryable = "unexpected", 500, True
    zh = "系统出了问题，我们已记录，请稍后重试。"
    en = "Something went wrong on our side; it is recorded. Try again shortly."


class Unfinished(Exception):
    """A scheduled run in which not all went well, raised when all had their turn: it names them, the log says why."""
