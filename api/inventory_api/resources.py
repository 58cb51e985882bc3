"""What lives as long as the process and is shared by all requests."""

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from inventory_api.api_tokens.uses import ApiTokenUses
from inventory_api.authentication import KnownCallers
from inventory_api.cache import Cache
from inventory_api.database import Database
from inventory_api.metrics import Metrics
from inventory_api.passwords import Passwords
from inventory_api.readiness import Readiness
from inventory_api.security_events.service import SecurityEvents
from inventory_api.settings import ServiceSettings
from inventory_api.slots import TransferSlots
from inventory_api.throttle import SignInThrottle
from inventory_api.tokens import Tokens
from inventory_api.traffic.rates import Rates

if TYPE_CHECKING:
    from inventory_api.error_reports import ErrorReports
    from inventory_api.tracing import Tracing


@dataclass(frozen=True)
class Resources:
    settings: ServiceSettings
    database: Database
    metrics: Metrics
    passwords: Passwords
    rates: Rates
    cache: Cache
    readiness: Readiness
    throttle: SignInThrottle
    tokens: Tokens
    security_events: SecurityEvents
    api_token_uses: ApiTokenUses
    known_callers: KnownCallers
    transfers: TransferSlots
    errors: "ErrorReports | None" = None
    tracing: "Tracing | None" = None
    started: float = field(default_factory=time.monotonic)

    def start(self) -> None:
        self.security_events.start()
        self.api_token_uses.start()

    async def close(self) -> None:
        await self.security_events.close()
        await self.api_token_uses.close()
        await self.cache.close()
        await self.rates.close()
        await self.database.close()
        for sender in (self.tracing, self.errors):
            if sender is not None:
                await sender.close()
