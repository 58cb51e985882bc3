"""The application, put together."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel, SecretStr
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api import probes
from inventory_api.api_tokens import repository as api_tokens
from inventory_api.api_tokens.endpoints import router as tokens
from inventory_api.api_tokens.uses import ApiTokenUses
from inventory_api.audit import repository as audit_events
from inventory_api.audit.endpoints import router as audit
from inventory_api.auth.endpoints import router as auth
from inventory_api.authentication import KnownCallers
from inventory_api.build import NAME, installed_version
from inventory_api.cache import Cache
from inventory_api.categories.endpoints import router as categories
from inventory_api.database import Database
from inventory_api.dependencies import report
from inventory_api.direct_routes import DirectRoutes
from inventory_api.docs_page import router as docs
from inventory_api.figures import service as figures
from inventory_api.health.endpoints import router as health
from inventory_api.idempotency import repository as idempotency
from inventory_api.items.endpoints import router as items
from inventory_api.labels.endpoints import router as labels
from inventory_api.links import add_links
from inventory_api.loans.endpoints import router as loans
from inventory_api.locations.endpoints import router as locations
from inventory_api.lookup.endpoints import router as lookup
from inventory_api.maintenance.endpoints import router as maintenance
from inventory_api.metrics import Metrics
from inventory_api.middleware import BodyLimit, RequestRecord
from inventory_api.migrations.revisions import read_image
from inventory_api.migrations.rule import ImageSchema
from inventory_api.passwords import Passwords
from inventory_api.problems import MEDIA_TYPE, ProblemDocument, handle_problems
from inventory_api.readiness import Readiness
from inventory_api.reports.endpoints import router as reports
from inventory_api.reservations import service as reservations_service
from inventory_api.reservations.endpoints import router as reservations
from inventory_api.resources import Resources
from inventory_api.security_events import repository as security_events
from inventory_api.security_events.endpoints import router as security
from inventory_api.security_events.service import SecurityEvents
from inventory_api.sessions import repository as sessions
from inventory_api.sessions.endpoints import router as signed_in
from inventory_api.settings import ServiceSettings
from inventory_api.slots import Slots, TransferSlots
from inventory_api.stock.endpoints import router as stock
from inventory_api.stocktakes.endpoints import router as stocktakes
from inventory_api.throttle import SignInThrottle
from inventory_api.tokens import Tokens
from inventory_api.traffic.rates import Rates
from inventory_api.traffic.routes import RouteClass
from inventory_api.traffic.stack import let_in, limit_requests
from inventory_api.transfer.endpoints import router as transfer
from inventory_api.units.endpoints import router as units
from inventory_api.users import service as users_service
from inventory_api.users.endpoints import router as users

if TYPE_CHECKING:
    from inventory_api.error_reports import ErrorReports
    from inventory_api.tracing import Tracing

log = structlog.get_logger()

# The largest body that this API takes, an item whose every character is an escaped surrogate pair, has 62 kB. What is
# refused costs too: a body of unknown fields makes an error of each.
MAX_BODY_BYTES = 64 * 1024
_KEYS_KEPT = timedelta(hours=24)
_HOUSEKEEPING_SECONDS = 600
_ROWS_AT_ONCE = 1000


class InventoryApp(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """The contract, with where its answers lead."""
        if self.openapi_schema is None:
            add_links(super().openapi())
        return super().openapi()


class Links(BaseModel):
    documentation: str = "/api/docs"
    openapi: str = "/api/openapi.json"
    sign_in: str = "/api/v1/auth/token"


class Root(BaseModel):
    name: str
    version: str
    release: str
    revision: str
    links: Links


def create_app(settings: ServiceSettings, image: ImageSchema | None = None) -> FastAPI:
    """The service on these settings; `image` is what its schema must be, as read from the migrations' files."""
    resources = _resources(settings, image or read_image().schema)
    app = InventoryApp(
        title="Inventory",
        version=settings.version,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        # A redirect would name http, whatever the proxy speaks, and callers would send password or token there.
        redirect_slashes=False,
        # Requests are traced and counted by middleware of ours; FastAPI would ask anew each time whether it should.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        lifespan=_lifespan,
        generate_unique_id_function=_operation_id,
    )
    app.state.resources = resources
    handle_problems(app, report)
    # The last one added is the outermost.
    app.add_middleware(BodyLimit, limit=MAX_BODY_BYTES, larger={RouteClass.IMPORT: settings.import_max_bytes})
    limit_requests(app, resources)
    app.add_middleware(RequestRecord, metrics=resources.metrics, release=settings.release, errors=resources.errors)
    let_in(app, resources)
    if resources.tracing is not None:
        app.add_middleware(resources.tracing.of_requests)
    _add_api(app)
    app.include_router(_root(settings))
    app.include_router(docs)
    app.include_router(probes.router)
    app.router.middleware_stack = DirectRoutes(app.router.middleware_stack, app.routes)
    return app


def openapi_document() -> dict[str, Any]:
    """The contract with callers; it depends on no setting."""
    settings = ServiceSettings(
        database_url=SecretStr("postgresql://nowhere"), secret_key=SecretStr("-" * 32), version=installed_version()
    )
    return create_app(settings).openapi()


def _resources(settings: ServiceSettings, image: ImageSchema) -> Resources:
    metrics = Metrics(settings.version, settings.release, settings.revision)
    rates = Rates(settings.redis_url.get_secret_value() if settings.redis_url else None)
    cache = Cache(rates.redis, metrics, settings.database_url.get_secret_value())
    database, passwords = Database(settings, cache.at_commit), Passwords()
    metrics.show_pool(lambda: database.pool)

    async def ensure_first_admin(session: AsyncSession) -> None:
        if settings.admin_email and settings.admin_password:
            await users_service.ensure_first_admin(
                session, passwords, settings.admin_email, settings.admin_password.get_secret_value()
            )

    return Resources(
        settings=settings,
        database=database,
        metrics=metrics,
        passwords=passwords,
        rates=rates,
        cache=cache,
        readiness=Readiness(image, database, ensure_first_admin),
        throttle=SignInThrottle(rates),
        tokens=Tokens(settings.secret_key.get_secret_value(), settings.access_token_seconds, settings.previous_keys()),
        security_events=SecurityEvents(database, metrics),
        api_token_uses=ApiTokenUses(database, metrics),
        known_callers=KnownCallers(settings.caller_known_seconds),
        errors=_error_reports(settings),
        tracing=_tracing(settings, database, metrics),
        transfers=TransferSlots(Slots(settings.import_slots, "imports"), Slots(settings.export_slots, "exports")),
    )


def _tracing(settings: ServiceSettings, database: Database, metrics: Metrics) -> "Tracing | None":
    if settings.otlp_endpoint is None:
        return None
    from inventory_api.tracing import Tracing

    return Tracing(settings, database.engine, metrics)


def _error_reports(settings: ServiceSettings) -> "ErrorReports | None":
    if settings.sentry_dsn is None:
        return None
    from inventory_api.error_reports import ErrorReports

    return ErrorReports(settings)


def _root(settings: ServiceSettings) -> APIRouter:
    router = APIRouter(tags=["service"])

    @router.get("/")
    async def get_root() -> Root:
        return Root(
            name=NAME,
            version=settings.version,
            release=settings.release,
            revision=settings.revision,
            links=Links(),
        )

    return router


def _add_api(app: FastAPI) -> None:
    # They are looked through in order: what is called most comes first.
    often = (items, loans, stock, units, reservations, categories, locations)
    seldom = (auth, signed_in, users, tokens, stocktakes, maintenance, reports, lookup, transfer, labels)
    hardly = (audit, security, health)
    for domain in (*often, *seldom, *hardly):
        _add_operations(app, domain)


def _add_operations(app: FastAPI, domain: APIRouter) -> None:
    """Adds the domain's operations one by one. An included router would be asked twice for each request, and all of
    them for changes since, which takes longer than to read an item.
    """
    content = {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{ProblemDocument.__name__}"}}}
    problem = {"model": ProblemDocument, "content": content, "description": "A problem"}
    for route in domain.routes:
        assert isinstance(route, APIRoute)  # noqa: S101 - a domain's router has nothing else
        app.add_api_route(
            f"/api/v1{route.path}",
            route.endpoint,
            methods=sorted(route.methods or ()),
            name=route.name,
            response_model=route.response_model,
            response_class=route.response_class,
            status_code=route.status_code,
            tags=route.tags,
            responses={"default": problem, **route.responses},
        )


def _operation_id(route: APIRoute) -> str:
    return route.name


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    resources: Resources = app.state.resources
    resources.start()
    task = asyncio.create_task(_background(resources))
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await resources.close()


async def _background(resources: Resources) -> None:
    await resources.readiness.await_schema()
    await asyncio.gather(
        _keep_house(resources),
        _pass_on_what_is_due(resources),
        figures.keep_current(resources.database, resources.metrics),
    )


async def _keep_house(resources: Resources) -> None:
    while True:
        try:
            async with resources.database.transaction() as session:
                await idempotency.forget(session, _KEYS_KEPT)
            await forget_what_is_over(resources)
        except Exception as error:
            log.warning("what is old stays until the next round", error=type(error).__name__)
        await asyncio.sleep(_HOUSEKEEPING_SECONDS)


async def _pass_on_what_is_due(resources: Resources) -> None:
    """Every pod does it: whoever comes second to an item finds nothing left to do."""
    while True:
        await asyncio.sleep(resources.settings.reservation_seconds_between_looks)
        try:
            await reservations_service.pass_on_all(resources.database)
        except Exception as error:
            log.warning("what is reserved waits for the next look", error=type(error).__name__)


async def forget_what_is_over(resources: Resources) -> None:
    """Many rows in several transactions, so that none is long."""
    settings = resources.settings
    over, seen = timedelta(days=settings.credentials_kept_days), timedelta(days=settings.security_events_kept_days)
    chores: list[Callable[[AsyncSession], Awaitable[int]]] = [
        lambda session: sessions.forget_tokens(session, _ROWS_AT_ONCE),
        lambda session: sessions.forget(session, over, _ROWS_AT_ONCE),
        lambda session: api_tokens.forget(session, over, _ROWS_AT_ONCE),
        lambda session: security_events.forget(session, seen, _ROWS_AT_ONCE),
    ]
    if settings.audit_kept_days is not None:
        changed = timedelta(days=settings.audit_kept_days)
        chores.append(lambda session: audit_events.forget(session, changed, _ROWS_AT_ONCE))
    for forget in chores:
        removed = _ROWS_AT_ONCE
        while removed == _ROWS_AT_ONCE:
            async with resources.database.transaction() as session:
                removed = await forget(session)
