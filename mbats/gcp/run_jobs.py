"""Starting a Cloud Run job with other arguments, by its REST API.

https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.jobs/run
"""

from collections.abc import Sequence

import requests

from mbats.errors import NotReadyError
from mbats.gcp.connection import speaking

ENDPOINT = "https://run.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
SECONDS = 30.0


def run_job(
    job: str, args: Sequence[str], session: requests.Session | None = None, endpoint: str = ENDPOINT
) -> str:
    """Start ``job`` (projects/P/locations/L/jobs/J) with ``args``; return its execution's name.

    Returns as soon as the execution exists. ``session`` carries the credentials; this identity's
    own where it is None. Raises :class:`NotReadyError` where it was not started.
    """
    with speaking(f"Run {job}"):
        answer = (session or _authorized()).post(
            f"{endpoint}/v2/{job}:run",
            json={"overrides": {"containerOverrides": [{"args": list(args)}]}},
            timeout=SECONDS,
        )
    if answer.status_code != 200:
        raise NotReadyError(
            f"Cloud Run did not start {job}: status {answer.status_code}.",
            tried=[answer.text[:300]],
            mend="look whether the job exists, and whether this identity may run it",
        )
    return str(answer.json().get("metadata", {}).get("name", ""))


def _authorized() -> requests.Session:
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError
    from google.auth.transport.requests import AuthorizedSession

    try:
        credentials, _ = google.auth.default(scopes=[SCOPE])
    except DefaultCredentialsError as error:
        raise NotReadyError("There are no Google credentials.") from error
    session: requests.Session = AuthorizedSession(credentials)
    return session
