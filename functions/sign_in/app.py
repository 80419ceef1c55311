"""Authorizer: who is calling the console, and with which role."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from shared.kernel.events import measured
from shared.steps import sign_in


@measured
def handler(event: dict[str, Any], _: LambdaContext) -> dict[str, Any]:
    return sign_in.admit(event["authorizationToken"], event["methodArn"])
