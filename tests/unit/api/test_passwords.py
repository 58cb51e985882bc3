import time

from inventory_api.passwords import Passwords


async def test_a_password_fits_its_hash_only() -> None:
    passwords = Passwords()
    known = await passwords.hash("right")

    assert await passwords.verify("right", known)
    assert not await passwords.verify("wrong", known)
    assert not await passwords.verify("right", None)


async def test_the_hash_is_argon2id_with_the_figures_that_owasp_names() -> None:
    assert (await Passwords().hash("right")).startswith("$argon2id$v=19$m=19456,t=2,p=1$")


async def test_nobody_takes_as_long_as_somebody() -> None:
    passwords = Passwords()
    known = await passwords.hash("right")
    await passwords.verify("wrong", None)

    async def fastest(hashed: str | None) -> float:
        times = []
        for _ in range(5):
            started = time.perf_counter()
            await passwords.verify("wrong", hashed)
            times.append(time.perf_counter() - started)
        return min(times)

    # Without a hash to compare with, the answer would come in microseconds.
    assert await fastest(None) > await fastest(known) / 4
