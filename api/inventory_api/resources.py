"""What lives as long as the process and is shared by all requests."""

from dataclasses import dataclass

from inventory_api.database import Database
from inventory_api.metrics import Metrics
from inventory_api.passwords import Passwords
from inventory_api.readiness import Readiness
from inventory_api.settings import ServiceSettings
from inventory_api.throttle import SignInThrottle
from inventory_api.tokens import Tokens


@dataclass(frozen=True)
class Resources:
    settings: ServiceSettings
    database: Database
    metrics: Metrics
    passwords: Passwords
    readiness: Readiness
    throttle: SignInThrottle
    tokens: Tokens

    async def close(self) -> None:
        await self.throttle.close()
        await self.database.close()
