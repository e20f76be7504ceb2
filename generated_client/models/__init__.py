"""Contains all the data models used in inputs/outputs"""

from .accepted_job import AcceptedJob
from .error import Error
from .error_detail import ErrorDetail
from .get_job_logs_stream import GetJobLogsStream
from .job import Job
from .log_page import LogPage
from .run_request import RunRequest
from .run_request_mode import RunRequestMode

__all__ = (
    "AcceptedJob",
    "Error",
    "ErrorDetail",
    "GetJobLogsStream",
    "Job",
    "LogPage",
    "RunRequest",
    "RunRequestMode",
)
