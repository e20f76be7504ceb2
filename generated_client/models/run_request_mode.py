from typing import Literal

RunRequestMode = Literal["async", "sync"]

RUN_REQUEST_MODE_VALUES: set[RunRequestMode] = {
    "async",
    "sync",
}


def check_run_request_mode(value: str) -> RunRequestMode:
    if value in RUN_REQUEST_MODE_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {RUN_REQUEST_MODE_VALUES!r}"
    )
