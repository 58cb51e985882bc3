from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession


async def server_version(session: AsyncSession) -> str:
    return str(await session.scalar(select(func.current_setting("server_version"))))
