"""The API over REST: Google's JSON mapping, Google's error JSON.

https://cloud.google.com/run/docs/reference/rest
"""

import json
import re
from collections.abc import Iterable
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mbats.local.cloud_run.api import Api
from mbats.local.cloud_run.knative import API
from mbats.local.cloud_run.log_pages import LogPages
from mbats.local.cloud_run.methods import METHODS, Method, plain
from mbats.local.cloud_run.refusals import Refusal, invalid, not_found
from mbats.local.cloud_run.rest_v1 import RestV1

_SYSTEM = re.compile(r"\$?(alt|prettyPrint|fields|key|quotaUser|access_token|callback|oauth_token)")


class Rest:
    """Routes a request to the method of its path."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._routes = [(method, _pattern(method.path)) for method in METHODS]

    async def answer(self, request: Request) -> Response:
        """Answer one request."""
        try:
            method, name = self._find(request)
            message = await _message(request, method, name)
            answer = await method.call(self._api, method.wrapped(message))
        except Refusal as refusal:
            return JSONResponse(refusal.document(), refusal.http_status)
        return JSONResponse(json_format.MessageToDict(plain(answer)))

    def _find(self, request: Request) -> tuple[Method, str]:
        path = request.url.path
        for method, pattern in self._routes:
            found = pattern.fullmatch(path)
            if found and method.verb == request.method:
                return method, found["name"]
        return not_found(f"{request.method} {path}")


def application(api: Api, logs: LogPages) -> Starlette:
    """Return the REST API, and the logs that it points at, as an ASGI application."""
    rest = Rest(api)
    app = Starlette()
    app.add_route("/logs/{execution}", logs.execution)
    app.add_route("/logs/{execution}/{index:int}", logs.task)
    old = f"/apis/{API}/namespaces/{{project}}/{{kind}}"
    for path in (old, f"{old}/{{name}}"):
        app.add_route(path, RestV1(api).answer, methods=["GET", "POST", "DELETE"])
    app.add_route("/{path:path}", rest.answer, methods=["GET", "POST", "PATCH", "DELETE", "PUT"])
    return app


def _pattern(path: str) -> re.Pattern[str]:
    before, field, after = re.split(r"\{(.+)\}", path)
    names = field.split("=")[1].replace("*", "[^/:]+")
    return re.compile(f"{before}(?P<name>{names}){re.escape(after)}")


async def _message(request: Request, method: Method, name: str) -> Message:
    message = method.blank()
    if method.body:
        text = (await request.body()).decode(errors="replace")
        target = message if method.body == "*" else getattr(message, method.body)
        _fill(target, _json(text))
        if method.body != "*":
            target.SetInParent()
    _fill(message, _query(message, request.query_params.multi_items()))
    target, field = message, method.path.split("{")[1].split("=")[0]
    *above, field = field.split(".")
    for each in above:
        target = getattr(target, each)
    if above and getattr(target, field) not in ("", name):
        invalid(f"The name in the body is {getattr(target, field)!r}, in the path {name!r}.")
    setattr(target, field, name)
    return message


def _json(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text) if text.strip() else {}
    except ValueError as error:
        invalid(f"Invalid JSON payload received. {error}")
    if not isinstance(document, dict):
        invalid("Invalid JSON payload received. The root is not an object.")
    return document


def _fill(message: Message, document: dict[str, Any]) -> None:
    try:
        json_format.ParseDict(document, message)
    except json_format.ParseError as error:
        invalid(f"Invalid JSON payload received. {error}")


def _query(message: Message, items: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return the query as a JSON document; Google's system parameters say nothing here."""
    known = {field.json_name: field for field in message.DESCRIPTOR.fields}
    known |= {field.name: field for field in message.DESCRIPTOR.fields}
    made: dict[str, Any] = {}
    for name, value in items:
        if _SYSTEM.fullmatch(name):
            continue
        if name not in known:
            invalid(f'Invalid JSON payload received. Unknown name "{name}": Cannot bind query.')
        if known[name].type == FieldDescriptor.TYPE_BOOL:
            if value.lower() not in ("true", "false"):
                invalid(f"Invalid value at '{name}': {value!r}.")
            made[known[name].name] = value.lower() == "true"
        else:
            made[known[name].name] = value
    return made
