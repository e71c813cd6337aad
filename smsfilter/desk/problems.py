"""What the API answers where it cannot do what it was asked (RFC 9457), and what to do then."""

import math
from http import HTTPStatus


class Problem(Exception):  # noqa: N818 - the word of RFC 9457
    """An answer other than 200; `detail` says in a line what is wrong and what would be right."""

    def __init__(self, status: HTTPStatus, detail: str, **more: object) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.more = more
        self.headers: dict[str, str] = {}


def not_found(what: str) -> Problem:
    """There is no such thing."""
    return Problem(HTTPStatus.NOT_FOUND, f"there is no {what}")


def refused(detail: str, **more: object) -> Problem:
    """It is understood and cannot be done as things are."""
    return Problem(HTTPStatus.CONFLICT, detail, **more)


def invalid(detail: str, **more: object) -> Problem:
    """It is not what the API takes."""
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, **more)


def too_many(detail: str, wait_s: float) -> Problem:
    """It comes too soon after what was asked before."""
    seconds = math.ceil(wait_s)
    problem = Problem(HTTPStatus.TOO_MANY_REQUESTS, detail, retry_after_s=seconds)
    problem.headers["Retry-After"] = str(seconds)
    return problem
