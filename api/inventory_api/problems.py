"""Errors as RFC 9457 problem details, made in one place."""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from asyncpg.exceptions import InterfaceError, InternalClientError, PostgresError
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException

from inventory_api.database import OutcomeUnknownError, is_passing
from inventory_api.security import SecurityEvent, SecurityEventKind

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER: Final = {"Retry-After": "1"}
# A body can be wrong in as many places as it has bytes for; nobody mends more than these at once.
_ERRORS_LISTED = 20
Report = Callable[[SecurityEvent, Request], None]


class Problem(Exception):  # noqa: N818 - the RFC's own word
    """A refusal with a stable `kind`, which callers may rely on, and what security wants to see of it."""

    def __init__(
        self,
        status: HTTPStatus,
        kind: str,
        detail: str,
        headers: Mapping[str, str] | None = None,
        errors: Sequence["FieldProblem"] = (),
        event: SecurityEvent | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.headers = headers
        self.errors = errors
        self.event = event


class FieldProblem(BaseModel):
    line: int | None = Field(default=None, description="of a file")
    field: str
    message: str


class ProblemDocument(BaseModel):
    """The body of every error."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[FieldProblem] | None = None


def not_found(what: str) -> Problem:
    return Problem(HTTPStatus.NOT_FOUND, "not-found", f"There is no such {what}.")


def conflict(kind: str, detail: str, headers: Mapping[str, str] | None = None) -> Problem:
    return Problem(HTTPStatus.CONFLICT, kind, detail, headers)


def unavailable(detail: str) -> Problem:
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", detail, RETRY_AFTER)


def too_many_attempts(user_id: int | None = None) -> Problem:
    return Problem(
        HTTPStatus.TOO_MANY_REQUESTS,
        "too-many-attempts",
        "Too many sign-ins with this address were tried. Wait a while.",
        {"Retry-After": "60"},
        event=SecurityEvent(SecurityEventKind.SIGN_IN_THROTTLED, user_id),
    )


def problem_response(
    request_id: str,
    status: int,
    kind: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
    errors: Sequence[FieldProblem] = (),
) -> JSONResponse:
    document = ProblemDocument(
        type=f"urn:inventory:problem:{kind}",
        title=kind.replace("-", " ").capitalize(),
        status=status,
        detail=detail,
        request_id=request_id,
        errors=list(errors) or None,
    )
    return JSONResponse(
        document.model_dump(exclude_none=True), status, headers=dict(headers or {}), media_type=MEDIA_TYPE
    )


def handle_problems(app: FastAPI, report: Report | None = None) -> None:
    """Answers with problem details, and has what security wants to see reported."""

    async def on_problem(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Problem)  # noqa: S101 - registered for this type
        if error.event is not None and report is not None:
            report(error.event, request)
        request.state.problem = error.kind
        return problem_response(
            request_id(request), error.status, error.kind, error.detail, error.headers, error.errors
        )

    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    for kind in (
        DBAPIError,
        PostgresError,
        InterfaceError,
        InternalClientError,
        OutcomeUnknownError,
        PoolTimeoutError,
        OSError,
    ):
        app.add_exception_handler(kind, _on_database)


def request_id(request: Request) -> str:
    return str(request.state.request_id)


async def _on_invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this type
    request.state.problem = "invalid-request"
    problems = error.errors()
    errors = [
        FieldProblem(field=_field(problem["loc"]), message=_message(problem)) for problem in problems[:_ERRORS_LISTED]
    ]
    detail = "The request is not valid: " + "; ".join(f"{each.field}: {each.message}" for each in errors[:3]) + "."
    if len(problems) > len(errors):
        detail += f" It has {len(problems)} errors, of which the first {len(errors)} are listed."
    return problem_response(
        request_id(request), HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", detail, errors=errors
    )


async def _on_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type
    phrase = HTTPStatus(error.status_code).phrase
    request.state.problem = kind = phrase.lower().replace(" ", "-")
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = _allowed(request, headers)
    return problem_response(request_id(request), error.status_code, kind, f"{str(error.detail).rstrip('.')}.", headers)


def _allowed(request: Request, headers: Mapping[str, str]) -> str:
    """The methods of all that has this path; the framework knows of one operation at a time."""
    path = getattr(request.scope.get("route"), "path", None)
    methods = set(headers.get("Allow", "").split(", "))
    for route in request.app.routes:
        if getattr(route, "path", "") == path:
            methods |= route.methods
    return ", ".join(sorted(methods))


async def _on_database(request: Request, error: Exception) -> JSONResponse:
    if not is_passing(error):
        raise error
    request.state.cause = type(error).__name__
    kind, detail = "unavailable", "The database cannot be reached now. The request did nothing; send it again."
    if isinstance(error, OutcomeUnknownError) and request.method != "GET":
        kind = "outcome-unknown"
        detail = (
            "The connection to the database was lost at the last moment, and the request may have been carried out. "
            "Send it again unchanged, with the same Idempotency-Key if it has one: nothing is done twice."
        )
    request.state.problem = kind
    return problem_response(request_id(request), HTTPStatus.SERVICE_UNAVAILABLE, kind, detail, RETRY_AFTER)


def _message(problem: Mapping[str, Any]) -> str:
    return str(problem["msg"]).removeprefix("Value error, ")


def _field(location: Sequence[Any]) -> str:
    """The path to what is wrong, without saying again that it is in the body."""
    parts = [str(part) for part in location]
    return ".".join(parts[1:] if len(parts) > 1 and parts[0] == "body" else parts)
