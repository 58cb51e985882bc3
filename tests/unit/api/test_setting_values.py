import os

import pytest
from inventory_api.settings import ServiceSettings, SettingsError, read_settings

GOOD = {"database_url": "postgresql://db/inventory", "secret_key": "k" * 32}


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("INVENTORY_")]:
        monkeypatch.delenv(name)


def test_several_values_stand_between_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVENTORY_ALLOWED_HOSTS", "Inventory.example.com, *.tools.example.com,[::1]")
    monkeypatch.setenv("INVENTORY_CORS_ORIGINS", "https://app.example.com,http://localhost:5173")
    monkeypatch.setenv("INVENTORY_TRUSTED_PROXIES", "10.0.0.0/8,fd00::/8,192.0.2.1,")

    settings = read_settings(ServiceSettings, **GOOD)

    assert settings.allowed_hosts == ("inventory.example.com", "*.tools.example.com", "[::1]")
    assert settings.cors_origins == ("https://app.example.com", "http://localhost:5173")
    assert settings.trusted_proxies == ("10.0.0.0/8", "fd00::/8", "192.0.2.1")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALLOWED_HOSTS", "https://inventory.example.com"),
        ("ALLOWED_HOSTS", "inventory.example.com:8000"),
        ("ALLOWED_HOSTS", "a.*.example.com"),
        ("CORS_ORIGINS", "*"),
        ("CORS_ORIGINS", "app.example.com"),
        ("CORS_ORIGINS", "https://app.example.com/"),
        ("CORS_ORIGINS", "null"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("TRUSTED_PROXIES", "ingress"),
        ("TRUSTED_PROXIES", "*"),
        ("RATE_LIMIT_READS", "60"),
        ("RATE_LIMIT_READS", "0/minute"),
        ("RATE_LIMIT_READS", "-1/minute"),
        ("RATE_LIMIT_READS", "60/fortnight"),
        ("RATE_LIMIT_READS", "off"),
        ("RATE_LIMITS", "sometimes"),
        ("MAX_REQUESTS_IN_FLIGHT", "1"),
        ("REQUEST_SECONDS", "0"),
        ("DATABASE_POOLER", "session"),
        ("DATABASE_LOCK_SECONDS", "inf"),
    ],
)
def test_a_value_that_would_mean_nothing_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"INVENTORY_{name}", value)

    with pytest.raises(SettingsError) as error:
        read_settings(ServiceSettings, **GOOD)

    (problem,) = str(error.value).splitlines()
    assert problem.startswith(f"INVENTORY_{name}: ")


def test_by_default_any_host_is_answered_to_and_nobody_is_trusted() -> None:
    settings = read_settings(ServiceSettings, **GOOD)

    assert (settings.allowed_hosts, settings.cors_origins, settings.trusted_proxies) == (("*",), (), ())


def test_sign_in_has_the_strictest_rate() -> None:
    settings = read_settings(ServiceSettings, **GOOD)
    per_minute = {
        name: int(getattr(settings, name).removesuffix("/minute"))
        for name in ServiceSettings.model_fields
        if name.startswith("rate_limit_")
    }

    assert min(per_minute, key=per_minute.__getitem__) == "rate_limit_sign_in"
