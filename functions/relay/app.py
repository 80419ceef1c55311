"""Stream: a changed record -> the queue of its next step."""

from aws_lambda_powertools.utilities.typing import LambdaContext

from shared.kernel.events import Event, measured
from shared.steps import relay


@measured
def handler(event: Event, _: LambdaContext) -> None:
    relay.forward(event["Records"])
