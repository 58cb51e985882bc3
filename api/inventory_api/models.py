"""Every table of the service in one place, for comparing code and database."""

from inventory_api.api_tokens.models import ApiToken
from inventory_api.audit.models import AuditEvent
from inventory_api.categories.models import Category
from inventory_api.database import Base
from inventory_api.idempotency.models import StoredResponse
from inventory_api.items.models import Item, KitPart
from inventory_api.ledger.models import StockEntry, StockLevel
from inventory_api.loans.models import Loan, LoanUnit
from inventory_api.locations.models import Location
from inventory_api.maintenance.models import MaintenanceEntry
from inventory_api.reservations.models import Reservation, UnitBooking
from inventory_api.security_events.models import SecurityEventRow
from inventory_api.sessions.models import RefreshToken, UserSession
from inventory_api.stocktakes.models import Stocktake, StocktakeLine, StocktakeScan
from inventory_api.units.models import Unit
from inventory_api.users.models import User

metadata = Base.metadata

__all__ = [
    "ApiToken",
    "AuditEvent",
    "Category",
    "Item",
    "KitPart",
    "Loan",
    "LoanUnit",
    "Location",
    "MaintenanceEntry",
    "RefreshToken",
    "Reservation",
    "SecurityEventRow",
    "StockEntry",
    "StockLevel",
    "Stocktake",
    "StocktakeLine",
    "StocktakeScan",
    "StoredResponse",
    "Unit",
    "UnitBooking",
    "User",
    "UserSession",
    "metadata",
]
