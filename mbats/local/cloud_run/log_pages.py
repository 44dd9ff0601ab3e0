"""The logs of an execution as plain text: what its ``logUri`` leads to."""

import re
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

_EXECUTION = re.compile(r"[a-z][a-z0-9-]*")
_FILE = re.compile(r"task-(\d+)-attempt-(\d+)\.log")


class LogPages:
    """Shows the log files of executions in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def execution(self, request: Request) -> Response:
        """Show every attempt of every task, one after the other, each under its name."""
        files = attempts(self._folder / self._name(request))
        if not files:
            return PlainTextResponse("There is no log of this name.\n", 404)
        parts = (f"=== {file.stem} ===\n{_text(file)}" for file in files)
        return PlainTextResponse("\n".join(parts))

    async def task(self, request: Request) -> Response:
        """Show the attempts of one task."""
        index = int(request.path_params["index"])
        files = attempts(self._folder / self._name(request))
        found = [file for file in files if _key(file)[0] == index]
        return PlainTextResponse("\n".join(_text(file) for file in found), 200 if found else 404)

    def _name(self, request: Request) -> str:
        name = str(request.path_params["execution"])
        return name if _EXECUTION.fullmatch(name) else "-"


def attempts(folder: Path) -> list[Path]:
    """Return the log files of an execution, by task and attempt."""
    if not folder.is_dir():
        return []
    return sorted((f for f in folder.iterdir() if _FILE.fullmatch(f.name)), key=_key)


def _key(file: Path) -> tuple[int, int]:
    found = _FILE.fullmatch(file.name)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _text(file: Path) -> str:
    return file.read_text(errors="replace")
