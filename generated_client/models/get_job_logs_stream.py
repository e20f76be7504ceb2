from typing import Literal

GetJobLogsStream = Literal["stderr", "stdout"]

GET_JOB_LOGS_STREAM_VALUES: set[GetJobLogsStream] = {
    "stderr",
    "stdout",
}


def check_get_job_logs_stream(value: str) -> GetJobLogsStream:
    if value in GET_JOB_LOGS_STREAM_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {GET_JOB_LOGS_STREAM_VALUES!r}"
    )
