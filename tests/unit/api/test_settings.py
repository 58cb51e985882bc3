import pytest
from inventory_api.settings import ServiceSettings, SettingsError, read_settings

GOOD = {"INVENTORY_DATABASE_URL": "postgresql://app:secret@db/inventory", "INVENTORY_SECRET_KEY": "k" * 32}


def environment(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_it_is_production_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, **GOOD)

    assert read_settings(ServiceSettings).environment == "production"


def test_everything_that_is_wrong_is_listed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    environment(
        monkeypatch,
        INVENTORY_DATABASE_URL="mysql://db",
        INVENTORY_SECRET_KEY="too short",
        INVENTORY_LOG_LEVEL="LOUD",
        INVENTORY_REDIS_URL="http://cache",
    )

    with pytest.raises(SettingsError) as error:
        read_settings(ServiceSettings)

    lines = str(error.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "INVENTORY_DATABASE_URL",
        "INVENTORY_REDIS_URL",
        "INVENTORY_SECRET_KEY",
        "INVENTORY_LOG_LEVEL",
    ]
    assert "too short" not in str(error.value)


def test_nothing_secret_has_a_default() -> None:
    with pytest.raises(SettingsError) as error:
        read_settings(ServiceSettings)

    assert str(error.value) == "INVENTORY_DATABASE_URL: is required\nINVENTORY_SECRET_KEY: is required"


def test_an_admin_needs_both_address_and_password(monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, **GOOD, INVENTORY_ADMIN_EMAIL="admin@example.com")

    with pytest.raises(SettingsError, match="go together"):
        read_settings(ServiceSettings)


def test_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, **GOOD)

    shown = repr(read_settings(ServiceSettings))

    assert "secret@db" not in shown
    assert "k" * 32 not in shown


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "SECRET_KEY", "ADMIN_EMAIL", "ADMIN_PASSWORD", "REDIS_URL", "LOG_LEVEL"):
        monkeypatch.delenv(f"INVENTORY_{name}", raising=False)


def test_a_log_level_may_be_written_in_lower_case(monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, **GOOD, INVENTORY_LOG_LEVEL="debug")

    assert read_settings(ServiceSettings).log_level == "DEBUG"
