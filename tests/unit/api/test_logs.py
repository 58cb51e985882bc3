import json
import logging
import os
import string
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from inventory_api.logs import REDACTED, begin_request, configure_logs, without_secrets

SECRET = "correct horse battery"
SECRET_NAMES = [
    "password",
    "new_password",
    "Password",
    "passwd",
    "pwd",
    "token",
    "access_token",
    "refreshToken",
    "secret_key",
    "client_secret",
    "Authorization",
    "Cookie",
    "set-cookie",
    "api_key",
    "X-Api-Key",
    "private_key",
    "sentry_dsn",
    "credentials",
]


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


class Log:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def text(self) -> str:
        return os.read(self._descriptor, 1 << 20).decode()

    def line(self) -> dict[str, Any]:
        """The one line since the last look."""
        (line,) = self.text().removesuffix("\n").split("\n")
        found: dict[str, Any] = json.loads(line, parse_constant=_refuse)
        return found


@contextmanager
def logging_to_a_pipe(level: str = "INFO", *, readable: bool = False) -> Iterator[Log]:
    before, root = structlog.get_config(), logging.getLogger()
    handlers, root_level = root.handlers, root.level
    reading, writing = os.pipe()
    try:
        with os.fdopen(writing, "w") as stream:
            configure_logs(level, readable=readable, stream=stream)
            yield Log(reading)
    finally:
        begin_request({})
        os.close(reading)
        structlog.configure(**before)
        root.handlers, root.level = handlers, root_level


@pytest.fixture
def log() -> Iterator[Log]:
    with logging_to_a_pipe() as log:
        yield log


def test_a_line_says_what_when_how_bad_and_where(log: Log) -> None:
    structlog.get_logger().warning("it happened", times=3)

    line = log.line()
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "it happened", "level": "warning", "logger": __name__, "times": 3}


def test_other_libraries_are_heard_in_the_same_way(log: Log) -> None:
    logging.getLogger("some.library").error("password=%s is wrong", SECRET.split()[0])

    line = log.line()
    assert (line["logger"], line["level"]) == ("some.library", "error")
    assert line["event"] == f"password={REDACTED} is wrong"


@pytest.mark.parametrize("level", [5, 15, 25, 55])
def test_a_library_may_have_levels_of_its_own(level: int) -> None:
    with logging_to_a_pipe("DEBUG") as log:
        logging.getLogger("some.library").log(level, "at a level of its own")
        structlog.get_logger().info("after it")

        assert log.text().splitlines()[-1].count("after it") == 1


def test_what_is_below_the_level_is_not_written(log: Log) -> None:
    structlog.get_logger().debug("a detail")
    logging.getLogger("some.library").debug("a detail")
    structlog.get_logger().info("the rest")

    assert log.line()["event"] == "the rest"


def test_lines_of_a_request_name_it_and_whoever_gets_known_in_its_course(log: Log) -> None:
    state = {"request_id": "r-1", "trace_id": "t-1"}
    begin_request(state)
    structlog.get_logger().info("before")
    before = log.line()
    state["user_id"] = "7"
    structlog.get_logger().info("after", request_id="another")
    after = log.line()

    assert (before["request_id"], before["trace_id"], "user_id" in before) == ("r-1", "t-1", False)
    assert (after["request_id"], after["user_id"]) == ("another", "7")


def test_an_error_is_one_line_with_its_traceback(log: Log) -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        structlog.get_logger().exception("it failed")

    line = log.line()
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("first\nsecond")


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()))
    | st.binary()
    | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(event=st.text(st.characters(exclude_categories=())), value=anything)
def test_whatever_is_logged_becomes_one_line_of_json(event: str, value: Any) -> None:
    with logging_to_a_pipe() as log:
        structlog.get_logger("any").info(event, value=value)

        assert log.line()["level"] == "info"


def below(name: str, secret: Any) -> st.SearchStrategy[dict[str, Any]]:
    """A secret under its name, anywhere in a structure."""
    return st.recursive(
        st.just({name: secret}),
        lambda inner: (
            st.lists(inner, min_size=1, max_size=2).map(lambda found: {"several": found})
            | inner.map(lambda found: {"headers": found})
            | inner.map(lambda found: {"pair": (found, 1)})
        ),
        max_leaves=3,
    )


@given(
    event=st.sampled_from(SECRET_NAMES).flatmap(
        lambda name: st.one_of(*(below(name, secret) for secret in (SECRET, SECRET.encode(), [SECRET], {"a": SECRET})))
    )
)
def test_what_is_named_like_a_secret_is_not_written_however_deep_it_is(event: dict[str, Any]) -> None:
    with logging_to_a_pipe() as log:
        structlog.get_logger("any").info("event", **event)

        written = log.text()
    assert SECRET not in written
    assert REDACTED in written


@pytest.mark.parametrize("name", ["token_id", "expires_in_seconds", "idempotency_key", "user_id", "sort_key", "count"])
def test_what_only_sounds_like_a_secret_is_written(log: Log, name: str) -> None:
    structlog.get_logger().info("event", **{name: "17"})

    assert log.line()[name] == "17"


@given(
    secret=st.text(string.ascii_letters + string.digits + "%!*$-_.~+", min_size=4).map(lambda text: f"s3{text}"),
    template=st.sampled_from(
        [
            "postgresql://app:{}@db:5432/inventory",
            "redis://:{}@cache/0",
            "cannot reach postgresql://app:{}@db1,db2/inventory?sslmode=require now",
            "Authorization: Bearer {}",
            "authorization=Basic {}",
            "{{'password': '{}', 'email': 'a@b.example'}}",
            '{{"password": "{}"}}',
            r"{{\"refresh_token\": \"{}\"}}",
            "password={}&next=1",
            "(b'authorization', b'Bearer {}')",
            "Cookie: {}",
            "1 validation error [type=string_too_short, input_value='{} and more', input_type=str]",
            "api_key='{}",
            "in eyJhbGciOiJIUzI1NiJ9.{}.c2lnbmF0dXJl it was",
        ]
    ),
)
def test_what_looks_like_a_secret_in_a_text_is_taken_out(secret: str, template: str) -> None:
    if "eyJ" in template:
        secret = "".join(character for character in secret if character.isalnum())

    assert secret not in without_secrets(template.format(secret))


@pytest.mark.parametrize(
    "text",
    [
        "/api/v1/items/17",
        "GET http://inventory/api/v1/items?limit=5",
        "first admin created",
        "migration 0007 applied in 0.4 s: 3 statements",
        "postgresql://app@db/inventory",
    ],
)
def test_a_text_without_secrets_stays_as_it_is(text: str) -> None:
    assert without_secrets(text) == text


def test_an_error_takes_no_secret_into_its_traceback(log: Log) -> None:
    try:
        raise ValueError(f"cannot connect to postgresql://app:{SECRET.split()[0]}@db/inventory")
    except ValueError:
        structlog.get_logger().exception("it failed")

    assert SECRET.split()[0] not in log.text()


def test_readable_lines_have_no_secret_either() -> None:
    with logging_to_a_pipe(readable=True) as log:
        try:
            password = SECRET
            raise ValueError(len(password))
        except ValueError:
            structlog.get_logger().exception("it failed", password=password)

        written = log.text()
    assert SECRET not in written
    assert "it failed" in written


def test_a_line_that_nobody_reads_any_more_fails_nothing() -> None:
    reading, writing = os.pipe()
    before = structlog.get_config()
    with os.fdopen(writing, "w") as stream:
        configure_logs("INFO", stream=stream)
        os.close(reading)
        structlog.get_logger("any").info("unheard")
    structlog.configure(**before)
