from typing import Annotated

from fastapi import APIRouter, Query, Response

from inventory_api.categories import service
from inventory_api.categories.models import Category
from inventory_api.categories.schemas import (
    CategoryChange,
    CategoryCreate,
    CategoryFound,
    CategoryQuery,
    CategoryShown,
)
from inventory_api.concurrency import IfMatch, with_etag
from inventory_api.dependencies import Caller, Session
from inventory_api.fields import PathId
from inventory_api.idempotency.header import OptionalIdempotencyKey, created
from inventory_api.pages import Page, page_of

router = APIRouter(prefix="/categories", tags=["categories"])


@router.post("", status_code=201, response_model=CategoryShown)
async def create_category(
    wanted: CategoryCreate, caller: Caller, session: Session, key: OptionalIdempotencyKey = None
) -> Response:
    async def work() -> Category:
        return await service.create(session, caller, wanted)

    return await created(session, caller.id, "create-category", key, wanted, CategoryShown, work)


@router.get("")
async def list_categories(
    query: Annotated[CategoryQuery, Query()], _caller: Caller, session: Session
) -> Page[CategoryShown]:
    """All of them, each with its parent; or those right below one."""
    return page_of(await service.page(session, query), query, CategoryShown, lambda category: category.id)


@router.get("/{category_id}")
async def get_category(category_id: PathId, _caller: Caller, session: Session, response: Response) -> CategoryFound:
    category = with_etag(response, CategoryShown.model_validate(await service.get(session, category_id)))
    path = await service.path(session, category_id)
    return CategoryFound.model_validate({**category.model_dump(), "path": path})


@router.patch("/{category_id}", response_model=CategoryShown)
async def change_category(
    category_id: PathId,
    wanted: CategoryChange,
    if_match: IfMatch,
    caller: Caller,
    session: Session,
    response: Response,
) -> Category:
    return with_etag(response, await service.change(session, caller, category_id, wanted, if_match))


@router.delete("/{category_id}", status_code=204)
async def delete_category(category_id: PathId, caller: Caller, session: Session) -> None:
    """Only where nothing hangs on it: no category below it and no item, archived ones counted."""
    await service.remove(session, caller, category_id)
