"""The description as the tests read it: its operations and each answer it gives an example of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from scripts.mock import DESCRIPTION


@dataclass(frozen=True)
class Answer:
    """One named example of one answer of one operation."""

    operation: str
    status: int
    example: str
    schema: str
    body: dict[str, Any]

    @property
    def prefer(self) -> str:
        """The `Prefer` header that makes Prism give this answer."""
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
    """The description as it is written."""
    # Times stay the strings that they are on the wire: a BaseLoader would also keep numbers so.
    loaded: dict[str, Any] = yaml.safe_load(DESCRIPTION.read_text(encoding="utf-8"))
    return loaded


def answers() -> list[Answer]:
    """Every named example of every answer of every operation, in the order of the description."""
    document = load()
    return [
        Answer(
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
