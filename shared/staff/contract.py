"""What crosses the HTTP edge about tasks that wait for a person."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shared.kernel.http import Shape


class TaskView(Shape):
    task_id: str
    kind: str
    about: str
    order_id: str
    opened_at: str


class TaskList(Shape):
    tasks: list[TaskView]


class CloseTask(Shape):
    note: Annotated[str, Field(min_length=1, max_length=500)]


class TaskClosed(Shape):
    task_id: str
