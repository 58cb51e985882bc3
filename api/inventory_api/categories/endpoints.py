from typing import Annotated

from fastapi import APIRouter, Query, Response

from inventory_api.categories import service
from inventory_api.categories.models import Category
from inventory_api.categories.schemas import CategoryCreate, CategoryShown
from inventory_api.dependencies import Caller, Session
from inventory_api.fields import PathId
from inventory_api.idempotency.header import OptionalIdempotencyKey, created
from inventory_api.pages import Page, PageQuery, page_of

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
    query: Annotated[PageQuery, Query()], _caller: Caller, session: Session
) -> Page[CategoryShown]:
    return page_of(await service.page(session, query), query, CategoryShown, lambda category: category.id)


@router.get("/{category_id}", response_model=CategoryShown)
async def get_category(category_id: PathId, _caller: Caller, session: Session) -> Category:
    return await service.get(session, category_id)
