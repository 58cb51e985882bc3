from typing import Literal

from pydantic import Field

from inventory_api.fields import Output


class Pool(Output):
    limit: int
    in_use: int
    idle: int


class DatabaseHealth(Output):
    status: Literal["ok", "away"]
    latency_ms: float | None = Field(default=None, description="of one statement on a connection that is open")
    server_version: str | None = None
    pool: Pool


class History(Output):
    image: str = Field(description="what this release has, as ranges")
    schema_: str = Field(serialization_alias="schema", description="what is applied in the database, as ranges")


class ContractHistory(History):
    required: str = Field(description="what this release cannot do without, as ranges")


class SchemaHealth(Output):
    status: Literal["ok", "incompatible", "unknown"]
    objections: list[str] = Field(default=[], description="why this release cannot run on it")
    expand: History | None = None
    contract: ContractHistory | None = None


class RedisHealth(Output):
    status: Literal["ok", "away", "not configured"]
    latency_ms: float | None = None


class Volume(Output):
    path: str
    total_bytes: int
    free_bytes: int


class VolumesHealth(Output):
    status: Literal["ok", "full", "unknown"] = Field(description="full: less than a twentieth of one is free")
    writable: list[Volume] = Field(default=[])


class Health(Output):
    status: Literal["ok", "degraded"]
    version: str
    release: str
    revision: str
    environment: str
    uptime_seconds: int
    database: DatabaseHealth
    schema_: SchemaHealth = Field(serialization_alias="schema")
    redis: RedisHealth
    volumes: VolumesHealth
