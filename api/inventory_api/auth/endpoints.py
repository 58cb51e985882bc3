from fastapi import APIRouter

from inventory_api.auth import service
from inventory_api.auth.schemas import AccessToken, SignIn
from inventory_api.dependencies import Serving

router = APIRouter(prefix="/auth", tags=["sign-in"])


@router.post("/token")
async def sign_in(given: SignIn, shared: Serving) -> AccessToken:
    user = await service.sign_in(shared.database, shared.passwords, shared.throttle, given)
    return AccessToken(access_token=shared.tokens.issue(user.id), expires_in=shared.tokens.seconds)
