"""The examples of the spec as responses and as models."""

from __future__ import annotations

import copy
from typing import Any

from generated_client.models import Job
from tests.support.spec import described_responses

_BODIES = {
    (response.operation, response.example): response.body for response in described_responses()
}


def documented(operation: str, example: str) -> dict[str, Any]:
    """The body of a named example; a copy, to be changed at will.

    Args:
        operation: Such as `getJob`.
        example: Such as `succeeded`.
    """
    return copy.deepcopy(_BODIES[operation, example])


def documented_job(example: str = "succeeded", **fields: object) -> Job:
    """The job of an example of `getJob`.

    Args:
        example: Such as `succeeded`.
        fields: What is to be different, by the names of the wire.
    """
    return Job.from_dict(documented("getJob", example) | fields)
