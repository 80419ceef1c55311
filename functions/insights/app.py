"""Stream: a moved card -> the levels it counts in."""

from aws_lambda_powertools.utilities.typing import LambdaContext

from shared.kernel import clock
from shared.kernel.events import Event, measured
from shared.steps import insights


@measured
def handler(event: Event, _: LambdaContext) -> None:
    insights.count_moves(event["Records"], clock.now())
