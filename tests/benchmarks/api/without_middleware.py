"""`inventory-api serve` with no middleware at all: what is left costs what the middleware doesn't."""

import argparse
from unittest import mock

from fastapi import FastAPI
from inventory_api import server
from inventory_api.app import create_app
from inventory_api.settings import ServiceSettings, read_settings


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    settings = read_settings(ServiceSettings)
    with (
        server.listen("127.0.0.1", parser.parse_args().port) as listener,
        mock.patch.object(server, "create_app", bare),
    ):
        server.serve(settings, listener)


def bare(settings: ServiceSettings) -> FastAPI:
    app = create_app(settings)
    app.user_middleware.clear()
    return app


if __name__ == "__main__":
    main()
