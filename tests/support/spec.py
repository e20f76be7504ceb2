"""The spec as the tests read it: its operations and each response it gives an example of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from scripts.mock import SPEC


@dataclass(frozen=True)
class DescribedResponse:
    """One named example of one response of one operation."""

    operation: str
    status: int
    example: str
    schema: str
    body: dict[str, Any]

    @property
    def prefer(self) -> str:
        """The `Prefer` header that makes Prism give this response."""
        return f"code={self.status}, example={self.example}"

    def __str__(self) -> str:
        return f"{self.operation}-{self.status}-{self.example}"


def _resolve(document: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        target: Any = document
        for key in node["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        node = target
    return node


def load() -> dict[str, Any]:
    """The spec as it is written."""
    # Times stay the strings that they are on the wire: a BaseLoader would also keep numbers so.
    loaded: dict[str, Any] = yaml.safe_load(SPEC.read_text(encoding="utf-8"))
    return loaded


def described_responses() -> list[DescribedResponse]:
    """Every named example of every response of every operation, in the order of the spec."""
    document = load()
    return [
        DescribedResponse(
            operation["operationId"],
            int(status),
            name,
            media["schema"]["$ref"].rpartition("/")[2],
            _resolve(document, example)["value"],
        )
        for path in document["paths"].values()
        for method, operation in path.items()
        if method != "parameters"
        for status, response in operation["responses"].items()
        for media in _resolve(document, response)["content"].values()
        for name, example in media["examples"].items()
    ]
