"""Answers that are written once. FastAPI would take what an endpoint returns apart and check it again, which costs as
much as reading it; so where much is read, the endpoint says its shape as `response_model` and returns this.
"""

from collections.abc import Mapping

from fastapi import Response
from pydantic import BaseModel


def as_json(shown: BaseModel, headers: Mapping[str, str] | None = None) -> Response:
    return Response(shown.__pydantic_serializer__.to_json(shown), headers=headers, media_type="application/json")
