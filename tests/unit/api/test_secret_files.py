"""Secrets from files, and the file of settings for development."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from inventory_api.settings import MigrationSettings, ServiceSettings, SettingsError, read_settings

DATABASE_URL = "postgresql://app:secret@db/inventory"


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("INVENTORY_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def given(monkeypatch: pytest.MonkeyPatch, **variables: str | Path) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"INVENTORY_{name}", str(value))


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def problems(kind: type[ServiceSettings | MigrationSettings] = ServiceSettings) -> list[str]:
    with pytest.raises(SettingsError) as error:
        read_settings(kind)
    return str(error.value).splitlines()


def test_every_secret_may_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secrets = {
        "DATABASE_URL": DATABASE_URL,
        "MIGRATION_DATABASE_URL": "postgresql://owner:secret@db/inventory",
        "REDIS_URL": "redis://:secret@cache",
        "SECRET_KEY": "k" * 32,
        "ADMIN_PASSWORD": "long enough",
    }
    for name, value in secrets.items():
        given(monkeypatch, **{f"{name}_FILE": written(tmp_path / name, value + "\n")})
    given(monkeypatch, ADMIN_EMAIL="admin@example.com")

    service, migration = read_settings(ServiceSettings), read_settings(MigrationSettings)

    found = {
        "DATABASE_URL": service.database_url,
        "MIGRATION_DATABASE_URL": migration.migration_database_url,
        "REDIS_URL": service.redis_url,
        "SECRET_KEY": service.secret_key,
        "ADMIN_PASSWORD": service.admin_password,
    }
    assert {name: value.get_secret_value() if value else None for name, value in found.items()} == secrets


def test_what_is_no_secret_comes_from_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given(monkeypatch, DATABASE_URL=DATABASE_URL, SECRET_KEY="k" * 32, LOG_LEVEL_FILE=written(tmp_path / "l", "DEBUG"))

    assert read_settings(ServiceSettings).log_level == "INFO"


def test_a_value_and_a_file_for_the_same_setting_contradict_each_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given(monkeypatch, DATABASE_URL=DATABASE_URL, SECRET_KEY="k" * 32)
    given(monkeypatch, SECRET_KEY_FILE=written(tmp_path / "key", "j" * 32))

    assert problems() == [
        "INVENTORY_SECRET_KEY: has a value, and INVENTORY_SECRET_KEY_FILE names a file too: leave one out"
    ]


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: path / "nothing", "cannot be read: No such file or directory"),
        (lambda path: path, "cannot be read: Is a directory"),
        (lambda path: written(path / "secret", "\n"), "is empty"),
        (lambda path: written(path / "secret", b"\xff\xfe"), "is not text in UTF-8"),
        (lambda path: written(path / "secret", "k" * 65_537), "is larger than 65536 bytes"),
    ],
)
def test_a_file_that_gives_nothing_is_listed_with_all_else_that_is_wrong(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make: Callable[[Path], Path], why: str
) -> None:
    path = make(tmp_path)
    given(monkeypatch, DATABASE_URL_FILE=path, MIGRATION_DATABASE_URL_FILE=path, LOG_LEVEL="LOUD")

    service, migration = problems(), problems(MigrationSettings)

    assert service[0] == f"INVENTORY_DATABASE_URL: INVENTORY_DATABASE_URL_FILE names {path}, which {why}"
    assert service[1] == "INVENTORY_SECRET_KEY: is required"
    assert service[2].startswith("INVENTORY_LOG_LEVEL: ")
    assert migration[0].endswith(f"INVENTORY_MIGRATION_DATABASE_URL_FILE names {path}, which {why}")


def test_what_a_file_holds_is_checked_as_any_value_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given(monkeypatch, DATABASE_URL=DATABASE_URL, SECRET_KEY_FILE=written(tmp_path / "key", "hush"))

    (problem,) = problems()

    assert problem.startswith("INVENTORY_SECRET_KEY: ")
    assert "hush" not in problem


@pytest.mark.parametrize("environment", ["development", "testing"])
def test_development_and_testing_read_the_file_of_the_working_directory(
    monkeypatch: pytest.MonkeyPatch, environment: str
) -> None:
    written(Path(".env"), f"INVENTORY_DATABASE_URL={DATABASE_URL}\nINVENTORY_LOG_LEVEL=DEBUG\nOTHER=1\n")
    given(monkeypatch, ENVIRONMENT=environment, SECRET_KEY="k" * 32)

    settings = read_settings(ServiceSettings)

    assert settings.database_url.get_secret_value() == DATABASE_URL
    assert settings.log_level == "DEBUG"


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    written(Path(".env"), f"INVENTORY_DATABASE_URL={DATABASE_URL}\nINVENTORY_LOG_LEVEL=DEBUG\n")
    given(monkeypatch, ENVIRONMENT="development", SECRET_KEY="k" * 32, LOG_LEVEL="ERROR")

    assert read_settings(ServiceSettings).log_level == "ERROR"


@pytest.mark.parametrize("environment", ["", "staging", "production"])
def test_nothing_else_reads_it_whatever_it_says_of_itself(monkeypatch: pytest.MonkeyPatch, environment: str) -> None:
    written(Path(".env"), f"INVENTORY_ENVIRONMENT=development\nINVENTORY_DATABASE_URL={DATABASE_URL}\n")
    given(monkeypatch, ENVIRONMENT=environment, SECRET_KEY="k" * 32)

    assert problems() == ["INVENTORY_DATABASE_URL: is required"]


def test_a_file_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    written(Path(".env"), b"INVENTORY_LOG_LEVEL=\xff\xfe\n")
    given(monkeypatch, ENVIRONMENT="development", DATABASE_URL=DATABASE_URL, SECRET_KEY="k" * 32)

    (problem,) = problems()

    assert problem.startswith(".env: cannot be read: ")
