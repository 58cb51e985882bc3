"""Changes that lose nobody else's: whoever edits names the version that they saw (RFC 9110, ETag and If-Match).

What people edit has a column `version`, which begins with 1 and grows with each change. In a domain's endpoints:

    @router.get("/{item_id}", response_model=ItemShown)
    async def get_item(item_id: PathId, caller: Caller, session: Session, response: Response) -> Item:
        return with_etag(response, await service.get(session, caller, item_id))

    @router.patch("/{item_id}", response_model=ItemShown)
    async def change_item(
        item_id: PathId, wanted: ItemChange, if_match: IfMatch, caller: Caller, session: Session, response: Response
    ) -> Item:
        return with_etag(response, await service.change(session, caller, item_id, wanted, if_match))

and in its service, after `demand` and with the row locked (SELECT … FOR UPDATE), or two who saw the same version would
both be right:

    item = await repository.lock(session, item_id)
    demand_version(if_match, item.version)

The change itself sets `version = version + 1`. The answer to a POST that creates carries the ETag too.
"""

import re
from http import HTTPStatus
from typing import Annotated, Protocol, TypeVar

from fastapi import Depends, Header, Response

from inventory_api.fields import OrLeftOut
from inventory_api.problems import Problem

_TAG = r'(?:W/)?"[\x21\x23-\x7e]*"'
_ANY = "*"


async def _if_match(
    given: Annotated[
        str | None,
        OrLeftOut(),
        Header(
            alias="If-Match",
            max_length=200,
            pattern=rf"^(?:\*|{_TAG}(?:[ \t]*,[ \t]*{_TAG})*)$",
            description="The ETag of what was read. Without it the answer is 428; 412 if it has changed meanwhile",
        ),
    ] = None,
) -> str | None:
    return given


IfMatch = Annotated[str | None, Depends(_if_match)]


class Versioned(Protocol):
    @property
    def version(self) -> int: ...


V = TypeVar("V", bound=Versioned)


def etag(version: int) -> str:
    return f'"{version}"'


def with_etag(response: Response, shown: V) -> V:
    """What is shown, once the answer says its version."""
    response.headers["ETag"] = etag(shown.version)
    return shown


def demand_version(given: str | None, current: int) -> None:
    """Raises a 428 Problem where `given`, the If-Match header, is missing, and a 412 Problem where it isn't `current`.

    Weak tags count as well: a proxy that compresses an answer weakens its tag, and the version is the same.
    """
    if given is None:
        raise Problem(
            HTTPStatus.PRECONDITION_REQUIRED,
            "precondition-required",
            "Read it first, and send its ETag as If-Match: so nobody's change is lost.",
        )
    if given != _ANY and etag(current) not in re.findall(r'"[^"]*"', given):
        raise Problem(
            HTTPStatus.PRECONDITION_FAILED,
            "precondition-failed",
            "It has been changed since you read it. Read it again, and send the change with its new ETag.",
        )
