from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from inventory_api.dependencies import Caller, Session, Shared
from inventory_api.fields import PathId
from inventory_api.idempotency.header import IdempotencyKey, response_of
from inventory_api.idempotency.service import Answer, answer_once
from inventory_api.pages import Page, page_of
from inventory_api.reservations import availability, service
from inventory_api.reservations.models import Reservation
from inventory_api.reservations.schemas import (
    Availability,
    AvailabilityQuery,
    ReservationQuery,
    ReservationShown,
    Reserve,
)

router = APIRouter(tags=["reservations"])


async def _policy(shared: Shared) -> service.Policy:
    settings = shared.settings
    return service.Policy(
        ahead=timedelta(days=settings.reservation_max_days_ahead),
        longest=timedelta(days=settings.reservation_max_days),
        lead=timedelta(minutes=settings.reservation_lead_minutes),
        hold=timedelta(hours=settings.reservation_hold_hours),
        per_person=settings.reservations_per_person,
    )


Policy = Annotated[service.Policy, Depends(_policy)]


@router.post("/reservations", status_code=201, response_model=ReservationShown)
async def reserve(wanted: Reserve, key: IdempotencyKey, caller: Caller, session: Session, policy: Policy) -> Response:
    async def work() -> Answer:
        reservation = await service.reserve(session, caller, wanted, policy)
        return Answer(201, ReservationShown.model_validate(reservation).model_dump(mode="json"))

    return response_of(await answer_once(session, caller.id, "reserve", key, wanted, work))


@router.post("/reservations/{reservation_id}/cancel", response_model=ReservationShown)
async def cancel_reservation(reservation_id: PathId, caller: Caller, session: Session) -> Reservation:
    return await service.cancel(session, caller, reservation_id)


@router.get("/reservations")
async def list_reservations(
    query: Annotated[ReservationQuery, Query()], caller: Caller, session: Session
) -> Page[ReservationShown]:
    return page_of(await service.page(session, caller, query), query, ReservationShown, lambda found: found.id)


@router.get("/reservations/{reservation_id}", response_model=ReservationShown)
async def get_reservation(reservation_id: PathId, caller: Caller, session: Session) -> Reservation:
    return await service.get(session, caller, reservation_id)


@router.get("/items/{item_id}/availability", response_model=Availability)
async def get_item_availability(
    item_id: PathId, query: Annotated[AvailabilityQuery, Query()], _caller: Caller, session: Session
) -> availability.Availability:
    """How many are free from when until when, by what is reserved and lent now."""
    return await service.availability(session, item_id, query)
