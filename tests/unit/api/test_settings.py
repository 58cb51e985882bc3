import os

import pytest
from inventory_api.settings import MigrationSettings, ServiceSettings, SettingsError, read_settings
from sqlalchemy.engine import make_url

GOOD = {"INVENTORY_DATABASE_URL": "postgresql://app:secret@db/inventory", "INVENTORY_SECRET_KEY": "k" * 32}


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("INVENTORY_")]:
        monkeypatch.delenv(name)


def environment(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def refusal(kind: type[ServiceSettings | MigrationSettings] = ServiceSettings) -> str:
    with pytest.raises(SettingsError) as error:
        read_settings(kind)
    return str(error.value)


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
        INVENTORY_ADMIN_PASSWORD="short",
    )

    lines = refusal().splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "INVENTORY_DATABASE_URL",
        "INVENTORY_REDIS_URL",
        "INVENTORY_SECRET_KEY",
        "INVENTORY_ADMIN_EMAIL",
        "INVENTORY_ADMIN_PASSWORD",
        "INVENTORY_LOG_LEVEL",
    ]


def test_nothing_secret_has_a_default() -> None:
    assert refusal() == "INVENTORY_DATABASE_URL: is required\nINVENTORY_SECRET_KEY: is required"


@pytest.mark.parametrize(
    "given", ["n" * 32, f"{'n' * 32} {'o' * 40}", f"{'n' * 32},{'o' * 40}\n", f"{'n' * 32}\n{'o' * 40}\n"]
)
def test_further_keys_have_spaces_between(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    environment(monkeypatch, **GOOD, INVENTORY_PREVIOUS_SECRET_KEYS=given)

    settings = read_settings(ServiceSettings)

    assert settings.previous_keys() == ["n" * 32, "o" * 40][: 2 if "o" in given else 1]
    assert "nnnn" not in repr(settings)


def test_without_further_keys_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, **GOOD)

    assert read_settings(ServiceSettings).previous_keys() == []


@pytest.mark.parametrize("given", ["n" * 31, f"{'n' * 32} short", " , ", " ".join(["n" * 32] * 6)])
def test_further_keys_are_as_long_as_the_first_and_few(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    environment(monkeypatch, **GOOD, INVENTORY_PREVIOUS_SECRET_KEYS=given)

    said = refusal()
    assert said.startswith("INVENTORY_PREVIOUS_SECRET_KEYS: must be up to 5 keys of 32 characters or more")
    assert "nnn" not in said


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"INVENTORY_ADMIN_EMAIL": "admin@example.com"}, "INVENTORY_ADMIN_PASSWORD"),
        ({"INVENTORY_ADMIN_PASSWORD": "long enough"}, "INVENTORY_ADMIN_EMAIL"),
    ],
)
def test_an_admin_needs_both_address_and_password(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], missing: str
) -> None:
    environment(monkeypatch, **GOOD, **given)

    assert refusal() == f"{missing}: is required: INVENTORY_ADMIN_EMAIL and INVENTORY_ADMIN_PASSWORD go together"


def test_white_space_around_a_value_is_not_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    environment(
        monkeypatch,
        INVENTORY_DATABASE_URL=GOOD["INVENTORY_DATABASE_URL"] + "\n",
        INVENTORY_SECRET_KEY="k" * 32 + "\n",
        INVENTORY_ADMIN_EMAIL="Admin@example.com\n",
        INVENTORY_ADMIN_PASSWORD=" made with echo\n",
    )

    settings = read_settings(ServiceSettings)

    assert settings.database_url.get_secret_value() == GOOD["INVENTORY_DATABASE_URL"]
    assert settings.admin_email == "admin@example.com"
    assert settings.admin_password is not None
    assert settings.admin_password.get_secret_value() == "made with echo"


def test_a_password_is_as_long_as_it_is_without_white_space_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, **GOOD, INVENTORY_ADMIN_EMAIL="admin@example.com", INVENTORY_ADMIN_PASSWORD="seven 7\n")

    assert refusal().startswith("INVENTORY_ADMIN_PASSWORD: ")


@pytest.mark.parametrize(
    "url",
    [
        "mysql://app:hush@db/inventory",
        "postgresql://app:hush@db:54x2/inventory",
        "postgresql://app:hush@db:99999/inventory",
        "postgresql://app:p@ss:hush@db:5432/inventory",
        "postgresql://app:hu@sh@db:5432/inventory",
        "postgresql://app:hush@[::1/inventory",
        "postgresql://app:hush@db1:5432,:5432/inventory",
        "postgresql://app:hush@/inventory?host=db1,db2&port=5432",
    ],
)
def test_a_wrong_database_url_is_named_and_not_shown(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    environment(monkeypatch, **{**GOOD, "INVENTORY_DATABASE_URL": url, "INVENTORY_MIGRATION_DATABASE_URL": url})

    for kind, name in ((ServiceSettings, "DATABASE_URL"), (MigrationSettings, "MIGRATION_DATABASE_URL")):
        said = refusal(kind)
        assert said.startswith(f"INVENTORY_{name}: must ")
        assert "hush" not in said


@pytest.mark.parametrize(
    "url",
    [
        "http://:hush@cache",
        "redis://:hush@cache:63x9/0",
        "redis://:hush/hush@cache:6379/0",
        "redis://:hush@cache?socket_timeout=hush",
        "redis://:hush@cache?hush=1",
        "rediss://:hush@cache?ssl_cert_reqs=hush",
    ],
)
def test_a_wrong_redis_url_is_named_and_not_shown(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    environment(monkeypatch, **GOOD, INVENTORY_REDIS_URL=url)

    said = refusal()
    assert said.startswith("INVENTORY_REDIS_URL: must ")
    assert "hush" not in said


@pytest.mark.parametrize(
    ("hosts", "addresses"),
    [
        ("db1:5432,db2:5433", (["db1", "db2"], [5432, 5433])),
        ("db1,db2", (["db1", "db2"], [5432, 5432])),
        ("[::1]:5432,[::2]", (["::1", "::2"], [5432, 5432])),
    ],
)
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg2"])
def test_a_database_may_have_several_hosts(
    monkeypatch: pytest.MonkeyPatch, hosts: str, addresses: tuple[list[str], list[int]], driver: str
) -> None:
    environment(
        monkeypatch, **{**GOOD, "INVENTORY_DATABASE_URL": f"postgresql://app:secret@{hosts}/db?sslmode=require"}
    )

    url = make_url(read_settings(ServiceSettings).database_url.get_secret_value())
    dialect = url.set(drivername=f"postgresql+{driver}").get_dialect()()
    _, arguments = dialect.create_connect_args(url)

    names, ports = addresses
    expected = (names, ports) if driver == "asyncpg" else (",".join(names), ",".join(map(str, ports)))
    assert (arguments["host"], arguments["port"]) == expected
    assert (arguments["user"], arguments["password"], arguments["sslmode"]) == ("app", "secret", "require")


def test_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, **GOOD)

    shown = repr(read_settings(ServiceSettings))

    assert "secret@db" not in shown
    assert "k" * 32 not in shown


def test_a_log_level_may_be_written_in_lower_case(monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, **GOOD, INVENTORY_LOG_LEVEL="debug")

    assert read_settings(ServiceSettings).log_level == "DEBUG"


@pytest.mark.parametrize(
    "dsn",
    [
        "hush",
        "https://sentry.example/1",
        "https://hush@sentry.example/hush",
        "https://hush@sentry.example:port/1",
        "ftp://hush@sentry.example/1",
    ],
)
def test_a_wrong_sentry_dsn_is_named_and_not_shown(monkeypatch: pytest.MonkeyPatch, dsn: str) -> None:
    environment(monkeypatch, **GOOD, INVENTORY_SENTRY_DSN=dsn)

    said = refusal()
    assert said.startswith("INVENTORY_SENTRY_DSN: must be ")
    assert "hush" not in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTLP_ENDPOINT", "collector:4318"),
        ("OTLP_ENDPOINT", "grpc://collector:4317"),
        ("TRACE_SAMPLE_RATIO", "1.1"),
        ("TRACE_SAMPLE_RATIO", "-0.1"),
        ("TRACE_SAMPLE_RATIO", "nan"),
    ],
)
def test_wrong_settings_of_traces_are_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    environment(monkeypatch, **GOOD, **{f"INVENTORY_{name}": value})

    assert refusal().startswith(f"INVENTORY_{name}: ")


def test_nothing_is_traced_or_reported_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, **GOOD)

    settings = read_settings(ServiceSettings)

    assert (settings.otlp_endpoint, settings.sentry_dsn, settings.trace_sample_ratio) == (None, None, 0.01)
