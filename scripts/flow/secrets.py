"""The secrets that values of a flow refer to, found as OOMOL's executor finds them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

from python_executor.data import EXECUTOR_NAME
from python_executor.secret import SECRET_FILE, SECRET_REGEX, replace_secret

from scripts.flow.file import Flow
from scripts.flow.inputs import Constant

_REFERENCE = re.compile(SECRET_REGEX)


def with_secret(value: str) -> str | None:
    """A value as a block gets it.

    Args:
        value: A text of a flow.

    Returns:
        What the secret holds that it refers to, None if there is no such secret; any other text
        as it is.
    """
    reference = _REFERENCE.match(value)
    if reference is None:
        return value
    # What it logs about a secret that is not there, the caller says.
    logging.getLogger(EXECUTOR_NAME).setLevel(logging.CRITICAL)
    found: object = replace_secret({"value": value}, {})["value"]
    return found if isinstance(found, str) and found not in (value, reference[1]) else None


def missing_secrets(flow: Flow) -> Iterator[str]:
    """What the values of a flow refer to in vain, a sentence each."""
    for node in flow.nodes.values():
        for handle, source in node.inputs.items():
            value = source.value if isinstance(source, Constant) else None
            if isinstance(value, str) and with_secret(value) is None:
                yield (
                    f"node {node.node_id!r}: input {handle!r} is {value}, a secret that is not in "
                    f"{SECRET_FILE}: write it there, or give another value with --input"
                )
