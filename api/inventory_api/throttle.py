"""Slows down guessing at a password, by the address that is tried, wherever the guesses come from."""

import hashlib

from inventory_api.traffic.rates import Rates
from inventory_api.traffic.windows import Policy

_ATTEMPTS = Policy("sign-in-attempts", 20, 300)


class SignInThrottle:
    def __init__(self, rates: Rates) -> None:
        self._rates = rates

    async def admit(self, email: str) -> bool:
        """Whether one more attempt for this address may be made, whether or not it has an account.

        The attempt is counted before it is made: attempts at once would all find the count of before.
        """
        return (await self._rates.take(_ATTEMPTS, _digest(email))).admitted

    async def forget(self, email: str) -> None:
        """Starts anew for an address whose owner has shown to know the password."""
        await self._rates.forget(_ATTEMPTS, _digest(email))


def _digest(email: str) -> str:
    return hashlib.sha256(email.encode()).hexdigest()
