"""A small client of the local Cloud Run for people's commands: JSON over HTTP."""

from typing import Any

import requests

from mbats.errors import DataError, NotReadyError, RunFailedError
from mbats.local.cloud_run.clients import REGION

Document = dict[str, Any]
_SECONDS = 30.0


class Caller:
    """Speaks to the server at ``endpoint``, an address as http://host:port.

    Raises :class:`NotReadyError` if nobody answers, :class:`DataError` with the server's words
    if it refuses.
    """

    def __init__(self, endpoint: str, project: str, region: str = REGION) -> None:
        self._endpoint = endpoint
        self._parent = f"projects/{project}/locations/{region}"
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy on the way to this machine

    def jobs(self) -> list[Document]:
        """Return the jobs by name."""
        return self._pages(f"{self._parent}/jobs", "jobs")

    def run(self, job: str, args: list[str], tasks: int | None) -> tuple[str, Document]:
        """Start an execution; return its operation's name and the execution.

        ``args`` replace the job's own where there are any.
        """
        overrides: Document = {"containerOverrides": [{"args": args}]} if args else {}
        if tasks is not None:
            overrides["taskCount"] = tasks
        operation = self._call("POST", f"{self._parent}/jobs/{job}:run", {"overrides": overrides})
        return operation["name"], operation["metadata"]

    def wait(self, operation: str) -> Document:
        """Wait until an operation is done; return its execution.

        Raises :class:`RunFailedError` with the words of what failed.
        """
        done: Document = {}
        while not done.get("done"):
            done = self._call("POST", f"{operation}:wait", {"timeout": "20s"})
        if "error" in done:
            raise RunFailedError(done["error"]["message"], tried=[done["metadata"]["logUri"]])
        return {key: value for key, value in done["response"].items() if key != "@type"}

    def executions(self, job: str | None, limit: int) -> list[Document]:
        """Return the newest executions, of one job or of all."""
        names = [f"{self._parent}/jobs/{job}"] if job else [each["name"] for each in self.jobs()]
        found = [
            e for name in names for e in self._pages(f"{name}/executions", "executions", limit)
        ]
        return sorted(found, key=lambda each: str(each["createTime"]), reverse=True)[:limit]

    def log(self, execution: str) -> str:
        """Return all that the tasks of an execution wrote, by its short name."""
        found = self._call("GET", self._full(execution))
        return self._request("GET", found["logUri"]).text

    def cancel(self, execution: str) -> Document:
        """End an execution; return when it has ended."""
        operation = self._call("POST", f"{self._full(execution)}:cancel", {})
        self.wait(operation["name"])
        return self._call("GET", self._full(execution))

    def _full(self, execution: str) -> str:
        return f"{self._parent}/jobs/{execution.rpartition('-')[0]}/executions/{execution}"

    def _pages(self, name: str, field: str, limit: int = 1_000) -> list[Document]:
        found: list[Document] = []
        token = ""
        while len(found) < limit:
            page = self._call("GET", f"{name}?pageSize={min(limit, 1_000)}&pageToken={token}")
            found += page.get(field, [])
            token = page.get("nextPageToken", "")
            if not token:
                break
        return found

    def _call(self, method: str, name: str, body: Document | None = None) -> Document:
        return dict(self._request(method, f"{self._endpoint}/v2/{name}", body).json())

    def _request(self, method: str, url: str, body: Document | None = None) -> requests.Response:
        try:
            answer = self._session.request(method, url, json=body, timeout=_SECONDS)
        except requests.RequestException as error:
            raise NotReadyError(
                "The local Cloud Run does not answer.", tried=[url, str(error)], mend="mbats up"
            ) from error
        if answer.ok:
            return answer
        try:
            cause = answer.json()["error"]["message"]
        except (ValueError, KeyError, TypeError):
            cause = answer.text.strip()
        raise DataError(cause, tried=[f"{method} {url}"], mend="mbats jobs list")
