"""What the API says no with: a status of Google's, in gRPC's words and in REST's.

https://google.aip.dev/193, https://cloud.google.com/apis/design/errors
"""

from typing import Any, NoReturn

from grpc import StatusCode

HTTP_STATUS = {
    StatusCode.INVALID_ARGUMENT: 400,
    StatusCode.FAILED_PRECONDITION: 400,
    StatusCode.NOT_FOUND: 404,
    StatusCode.ALREADY_EXISTS: 409,
    StatusCode.ABORTED: 409,
    StatusCode.UNIMPLEMENTED: 501,
    StatusCode.INTERNAL: 500,
}


class Refusal(Exception):  # noqa: N818 (an answer of the API, not a fault of ours)
    """The request is refused; nothing was changed."""

    def __init__(self, code: StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def http_status(self) -> int:
        """The status of the REST answer."""
        return HTTP_STATUS[self.code]

    def document(self) -> dict[str, Any]:
        """Return Google's error JSON."""
        error = {"code": self.http_status, "message": self.message, "status": self.code.name}
        return {"error": error}


def invalid(message: str) -> NoReturn:
    """Refuse a request that is wrong in itself."""
    raise Refusal(StatusCode.INVALID_ARGUMENT, message)


def not_found(name: str) -> NoReturn:
    """Refuse a request for a resource that does not exist (any more)."""
    raise Refusal(StatusCode.NOT_FOUND, f"Resource '{name}' was not found.")


def not_ready(message: str) -> NoReturn:
    """Refuse a request that the state of the resource does not allow."""
    raise Refusal(StatusCode.FAILED_PRECONDITION, message)
