"""The order of what requests go through, from the endpoint outwards: the last one added is the outermost."""

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from inventory_api.resources import Resources
from inventory_api.setting_values import rate_of
from inventory_api.settings import ServiceSettings
from inventory_api.traffic.client_address import ClientAddress
from inventory_api.traffic.compression import Compression
from inventory_api.traffic.overload import LoadShedding, Saturation
from inventory_api.traffic.rate_limits import Callers, RateLimits
from inventory_api.traffic.routes import RouteClass
from inventory_api.traffic.time_limit import TimeLimit
from inventory_api.traffic.trusted_hosts import TrustedHosts
from inventory_api.traffic.windows import Policy

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_ASKED = ("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "X-Request-ID")
_TOLD = (
    "ETag",
    "Idempotency-Replayed",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Inventory-Release",
    "X-Request-ID",
)


def limit_requests(app: FastAPI, resources: Resources) -> None:
    """What may refuse a request or end it; the record of requests goes around it, so that it sees those too."""
    settings, metrics = resources.settings, resources.metrics
    app.add_middleware(TimeLimit, seconds=_seconds(settings), metrics=metrics)
    app.add_middleware(Compression)
    if settings.rate_limits:
        app.add_middleware(
            RateLimits,
            rates=resources.rates,
            policies=_policies(settings),
            callers=Callers(),
            metrics=metrics,
        )
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=_METHODS,
            allow_headers=_ASKED,
            expose_headers=_TOLD,
        )
    app.add_middleware(TrustedHosts, allowed=settings.allowed_hosts, metrics=metrics)


def let_in(app: FastAPI, resources: Resources) -> None:
    """Who a request is from, and whether it is refused unseen."""
    settings = resources.settings
    app.add_middleware(
        LoadShedding,
        saturation=Saturation(settings.max_requests_in_flight, settings.max_delay_seconds),
        metrics=resources.metrics,
        release=settings.release,
        origins=settings.cors_origins,
    )
    app.add_middleware(ClientAddress, trusted=settings.trusted_proxies)


def _seconds(settings: ServiceSettings) -> dict[RouteClass, float]:
    own = {RouteClass.EXPORT: settings.export_seconds, RouteClass.IMPORT: settings.import_seconds}
    return {kind: own.get(kind, settings.request_seconds) for kind in RouteClass}


def _policies(settings: ServiceSettings) -> dict[RouteClass, Policy]:
    reports = Policy("reports", *rate_of(settings.rate_limit_reports))
    return {
        RouteClass.SIGN_IN: Policy("sign-in", *rate_of(settings.rate_limit_sign_in)),
        RouteClass.READ: Policy("reads", *rate_of(settings.rate_limit_reads)),
        RouteClass.WRITE: Policy("writes", *rate_of(settings.rate_limit_writes)),
        RouteClass.REPORT: reports,
        RouteClass.EXPORT: reports,
        RouteClass.IMPORT: reports,
    }
