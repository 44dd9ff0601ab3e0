"""Sign-in to MLflow on Cloud Run: each request carries a Google ID token of who runs the process.

MLflow finds this by the entry point ``gcp-id-token`` and uses it where ``MLFLOW_TRACKING_AUTH``
names it (https://mlflow.org/docs/latest/ml/plugins/). The token's audience is the server that is
asked (https://docs.cloud.google.com/run/docs/authenticating/service-to-service), so a token is of
no use anywhere else. google-auth asks the metadata server, or a service account's key file.
"""

import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import requests
from google.auth import exceptions
from google.auth.transport.requests import Request
from google.oauth2 import id_token
from requests.auth import AuthBase

from mbats.errors import ConfigError, NotReadyError

NAME = "gcp-id-token"

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class IdTokenAuth(AuthBase):
    """Puts an ID token on requests. One per audience is kept until shortly before it expires."""

    def __init__(
        self, find: Callable[[str, Any], Any] = id_token.fetch_id_token_credentials
    ) -> None:
        """``find`` returns google-auth credentials for an audience and a transport."""
        self._find = find
        self._credentials: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the token. Raises :class:`ConfigError` where the address is not https or loopback,
        :class:`NotReadyError` where Google gives no token.
        """
        request.headers["Authorization"] = f"Bearer {self.token(_audience(request.url or ''))}"
        return request

    def token(self, audience: str) -> str:
        """Return a token for the audience that is good for some minutes more."""
        with self._lock:
            try:
                if audience not in self._credentials:
                    self._credentials[audience] = self._find(audience, Request())
                credentials = self._credentials[audience]
                if not credentials.valid:  # google-auth: or about to expire
                    credentials.refresh(Request())
            except exceptions.GoogleAuthError as error:
                raise NotReadyError(
                    f"Google gives no ID token for {audience}: {error}",
                    tried=["GOOGLE_APPLICATION_CREDENTIALS", "the metadata server"],
                    mend="run as a service account that may invoke MLflow, or on a laptop "
                    "set MLFLOW_TRACKING_TOKEN to `gcloud auth print-identity-token`'s answer "
                    "and unset MLFLOW_TRACKING_AUTH",
                ) from error
            return str(credentials.token)


class IdTokenAuthProvider:
    """MLflow's RequestAuthProvider, which asks for these two methods."""

    def __init__(self) -> None:
        self._auth = IdTokenAuth()

    def get_name(self) -> str:
        """Return the name that MLFLOW_TRACKING_AUTH gives."""
        return NAME

    def get_auth(self) -> IdTokenAuth:
        """Return what signs requests."""
        return self._auth


def _audience(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise ConfigError(
            f"An ID token is not sent to {parts.scheme}://{parts.netloc}: anybody could read it.",
            mend="MLFLOW_TRACKING_URI begins with https://",
        )
    return f"{parts.scheme}://{parts.netloc}"
