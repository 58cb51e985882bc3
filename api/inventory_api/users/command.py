"""`inventory-api create-admin`."""

import asyncio
import sys

from pydantic import ValidationError

from inventory_api.database import Database, is_passing
from inventory_api.passwords import Passwords
from inventory_api.problems import Problem
from inventory_api.settings import ServiceSettings
from inventory_api.users import service
from inventory_api.users.models import Role
from inventory_api.users.schemas import UserCreate


def create_admin(settings: ServiceSettings, email: str, password: str) -> int:
    try:
        wanted = UserCreate(email=email, name="Administrator", role=Role.ADMIN, password=password)
    except ValidationError as error:
        for problem in error.errors():
            print(f"{problem['loc'][0]}: {problem['msg']}", file=sys.stderr)
        return 2
    try:
        asyncio.run(_create(settings, wanted))
    except Problem as problem:
        print(problem.detail, file=sys.stderr)
        return 1
    except Exception as error:
        if not is_passing(error):
            raise
        print(f"The database cannot be reached: {error}", file=sys.stderr)
        return 1
    print(f"{wanted.email} may sign in as admin.")
    return 0


async def _create(settings: ServiceSettings, wanted: UserCreate) -> None:
    database = Database(settings)
    try:
        async with database.transaction() as session:
            await service.register(session, Passwords(), wanted)
    finally:
        await database.close()
