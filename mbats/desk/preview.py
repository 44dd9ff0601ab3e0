"""The preview: a page over the dashboard's views, read-only, the same here and on Google Cloud.

It lists the views of ``looker/views/`` and shows each: its newest rows, and a chart of its numbers
over time. On Google Cloud it reads the views' twins in ``desk_views``, all its identity may read.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from mbats.errors import DataError, MbatsError, NotReadyError
from mbats.gcp.views import FOLDER
from mbats.gcp.warehouse import Warehouse
from mbats.schemas import DATASETS

ROWS = 200
LINES_SHOWN = 4
READER_DATASET = "desk_views"

_TIMES = ("time", "started_at", "date", "start")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
)


@dataclass(frozen=True)
class View:
    """One view: its dataset and name here, and its first line, which says what it holds."""

    dataset: str
    name: str
    says: str


class Views:
    """The views as they are stored; every answer is what BigQuery says now."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self.settings = warehouse.settings

    def listed(self) -> list[View]:
        """Return the views, by dataset and name."""
        return [
            View(dataset, file.stem, _first_comment(file.read_text()))
            for dataset in DATASETS
            for file in sorted((FOLDER / dataset).glob("*.sql"))
        ]

    def view(self, name: str) -> View:
        """Return the view of that name. Raises :class:`DataError` where there is none."""
        found = [view for view in self.listed() if view.name == name]
        if not found:
            raise DataError(f"There is no view {name!r}.", tried=[v.name for v in self.listed()])
        return found[0]

    def rows(self, view: View) -> list[dict[str, Any]]:
        """Return the newest rows, newest first; in any order where a view knows no time."""
        target = f"{self.settings.project}.{self._dataset(view)}.{view.name}"
        found = self._warehouse.client.get_table(target)
        times = [name for name in _TIMES if name in {field.name for field in found.schema}]
        order = f"ORDER BY `{times[0]}` DESC " if times else ""
        return self._warehouse.query(f"SELECT * FROM `{target}` {order}LIMIT {ROWS}")

    def _dataset(self, view: View) -> str:
        if self.settings.profile == "gcp":
            return READER_DATASET
        return str(getattr(self.settings, view.dataset))


def chart(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return a Plotly figure of the first numeric columns over time; None without either."""
    time = next((name for name in _TIMES if rows and name in rows[0]), None)
    if time is None:
        return None
    numeric = [
        name
        for name in rows[0]
        if any(_is_number(row[name]) for row in rows)
        and all(row[name] is None or _is_number(row[name]) for row in rows)
    ]
    if not numeric:
        return None
    ordered = sorted((row for row in rows if row[time] is not None), key=lambda row: row[time])
    x = [shown(row[time]) for row in ordered]
    lines = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": name,
            "x": x,
            "y": [None if row[name] is None else float(row[name]) for row in ordered],
            "visible": True if index == 0 else "legendonly",
        }
        for index, name in enumerate(numeric[:LINES_SHOWN])
    ]
    return {"data": lines, "layout": {"margin": {"t": 24}, "showlegend": True, "height": 360}}


def shown(value: object) -> str:
    """Return a cell's text."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(sep=" ", timespec="milliseconds")[:23]
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, dict | list):
        return json.dumps(value, default=str)
    return str(value)


def application(warehouse: Warehouse) -> Starlette:
    """Return the pages: ``/``, ``/view/NAME``, ``/view/NAME.json``, ``/health``."""
    views = Views(warehouse)

    async def index(request: Request) -> Response:
        return _page("index.html", views=views.listed(), settings=views.settings)

    async def one(request: Request) -> Response:
        view = _found(views, request)
        rows = await run_in_threadpool(views.rows, view)
        columns = list(rows[0]) if rows else []
        cells = [[shown(row[name]) for name in columns] for row in rows]
        figure = chart(rows)
        return _page(
            "view.html", view=view, columns=columns, cells=cells, most=ROWS,
            figure=json.dumps(figure) if figure else "", settings=views.settings,
        )  # fmt: skip

    async def data(request: Request) -> Response:
        rows = await run_in_threadpool(views.rows, _found(views, request))
        return JSONResponse([{name: shown(value) for name, value in row.items()} for row in rows])

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def script(request: Request) -> Response:
        return Response(
            _plotly() if request.path_params["name"] == "plotly" else _script(),
            media_type="text/javascript",
            headers={"Cache-Control": "max-age=86400"},
        )

    return Starlette(
        routes=[
            Route("/", index),
            Route("/view/{name}.json", data),
            Route("/view/{name}", one),
            Route("/health", health),
            Route("/{name:str}.js", script),
        ],
        exception_handlers={MbatsError: _failed, HTTPException: _wrong},
    )


def _found(views: Views, request: Request) -> View:
    try:
        return views.view(request.path_params["name"])
    except DataError as error:
        raise HTTPException(404, error.cause) from error


async def _failed(request: Request, error: Exception) -> Response:
    status = 503 if isinstance(error, NotReadyError) else 500
    return _page("error.html", status, said=str(error))


async def _wrong(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return _page("error.html", status, said=getattr(error, "detail", str(error)))


def _page(template: str, status: int = 200, **values: Any) -> HTMLResponse:
    text = _templates().get_template(template).render(**values)
    return HTMLResponse(text, status, headers={"Content-Security-Policy": _POLICY})


@lru_cache(maxsize=1)
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("mbats.desk", "preview_pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@lru_cache(maxsize=1)
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


@lru_cache(maxsize=1)
def _script() -> str:
    environment = _templates()
    return environment.get_template("chart.js").render()


def _first_comment(sql: str) -> str:
    line = sql.lstrip().splitlines()[0]
    return line.removeprefix("--").strip() if line.startswith("--") else ""


def _is_number(value: object) -> bool:
    if isinstance(value, bool | date):
        return False
    return isinstance(value, int | float | Decimal)
