"""Every table of the service in one place, for comparing code and database."""

from inventory_api.categories.models import Category
from inventory_api.database import Base
from inventory_api.idempotency.models import StoredResponse
from inventory_api.items.models import Item
from inventory_api.loans.models import Loan
from inventory_api.users.models import User

metadata = Base.metadata

__all__ = ["Category", "Item", "Loan", "StoredResponse", "User", "metadata"]
