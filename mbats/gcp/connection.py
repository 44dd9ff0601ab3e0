"""Clients of Google Cloud, or of the emulators where the settings name their addresses.

A profile `local` never reaches Google: without a running stack it is an error. A local service
that does not answer is reported at once; left alone, Google's clients knock on a refused port
for ten minutes.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import grpc
import requests
from google.api_core import exceptions
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError, TransportError
from google.auth.transport.requests import AuthorizedSession
from google.cloud import bigquery, pubsub_v1, storage
from google.cloud.bigquery_storage_v1 import BigQueryReadClient
from google.cloud.bigquery_storage_v1.services.big_query_read.transports import (
    BigQueryReadGrpcTransport,
)
from google.pubsub_v1 import PublisherClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from mbats.config import Settings
from mbats.errors import DataError, NotReadyError

PROBE_SECONDS = 2.0
LOCAL_SECONDS = 600.0
"""How long an emulator may take over one answer, or one job: after a kill a job says RUNNING for
ever, and Google's client for BigQuery waits as long."""


class _LocalTransport(requests.adapters.HTTPAdapter):
    """Turns a dead emulator, or one that hangs, into an error that no client retries."""

    def send(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> requests.Response:
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = LOCAL_SECONDS
        try:
            return super().send(request, *args, **kwargs)
        except (requests.ConnectionError, requests.Timeout) as error:
            raise _silent(str(request.url).split("?")[0]) from error


def bigquery_client(settings: Settings) -> bigquery.Client:
    """Return a BigQuery client bound to the settings' project and location.

    Raises :class:`NotReadyError` where the emulator does not answer or no credentials exist.
    """
    endpoint = _endpoint(settings, settings.bigquery_endpoint, "BigQuery")
    if endpoint is None:
        with _credentials_needed():
            return bigquery.Client(project=settings.project, location=settings.location)
    return bigquery.Client(
        project=settings.project,
        location=settings.location,
        credentials=AnonymousCredentials(),
        client_options=ClientOptions(api_endpoint=endpoint),
        _http=_local_session(),
    )


def read_client(settings: Settings) -> BigQueryReadClient:
    """Return a client of the Storage Read API, over a plain channel for the emulator."""
    address = _endpoint(settings, settings.bigquery_grpc, "BigQuery's Storage API")
    if address is None:
        with _credentials_needed():
            return BigQueryReadClient()
    channel = grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)])
    return BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=channel))


def storage_client(settings: Settings) -> storage.Client:
    """Return a Cloud Storage client."""
    endpoint = _endpoint(settings, settings.storage_endpoint, "Cloud Storage")
    if endpoint is None:
        with _credentials_needed():
            return storage.Client(project=settings.project)
    return storage.Client(
        project=settings.project,
        credentials=AnonymousCredentials(),
        client_options=ClientOptions(api_endpoint=endpoint),
        _http=_local_session(),
    )


def publisher_client(settings: Settings, **options: Any) -> pubsub_v1.PublisherClient:
    """Return a Pub/Sub publisher; ``options`` are those of Google's client."""
    address = _endpoint(settings, settings.pubsub_endpoint, "Pub/Sub")
    if address is None:
        with _credentials_needed():
            return pubsub_v1.PublisherClient(**options)
    transport = PublisherGrpcTransport(channel=grpc.insecure_channel(address))
    return pubsub_v1.PublisherClient(transport=transport, **options)


def request_publisher_client(settings: Settings) -> PublisherClient:
    """Return a publisher whose every call is one request: no batches, no threads, no pauses."""
    address = _endpoint(settings, settings.pubsub_endpoint, "Pub/Sub")
    if address is None:
        with _credentials_needed():
            return PublisherClient()
    return PublisherClient(transport=PublisherGrpcTransport(channel=grpc.insecure_channel(address)))


def subscriber_client(settings: Settings) -> pubsub_v1.SubscriberClient:
    """Return a Pub/Sub subscriber."""
    address = _endpoint(settings, settings.pubsub_endpoint, "Pub/Sub")
    if address is None:
        with _credentials_needed():
            return pubsub_v1.SubscriberClient()
    transport = SubscriberGrpcTransport(channel=grpc.insecure_channel(address))
    return pubsub_v1.SubscriberClient(transport=transport)


def probe(address: str, service: str) -> None:
    """Raise :class:`NotReadyError` unless something listens at ``address``, within two seconds."""
    parts = urlsplit(address if "//" in address else f"//{address}")
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=PROBE_SECONDS).close()
    except OSError as error:
        raise NotReadyError(
            f"The local {service} does not answer.",
            tried=[f"connect to {address}: {error}"],
            mend="mbats up",
        ) from error


@contextmanager
def speaking(subject: str) -> Iterator[None]:
    """Say what Google's errors mean. ``subject`` is what was being done, to which table."""
    try:
        yield
    except exceptions.NotFound as error:
        raise NotReadyError(
            f"{subject}: {_first_line(error)}",
            mend="mbats init (and check the project and location: mbats config show)",
        ) from error
    except (exceptions.Forbidden, exceptions.Unauthorized) as error:
        raise NotReadyError(
            f"{subject}: {_first_line(error)}",
            mend="give this identity the roles that terraform/modules/warehouse gives",
        ) from error
    except (
        exceptions.ServerError,
        exceptions.TooManyRequests,
        exceptions.RetryError,
        TimeoutError,
        TransportError,
        requests.RequestException,
    ) as error:
        raise NotReadyError(
            f"{subject}: the service does not answer: {_first_line(error)}",
            mend="run it again: nothing is lost or doubled; locally see `mbats doctor`",
        ) from error
    except exceptions.GoogleAPICallError as error:
        raise DataError(f"{subject}: {_first_line(error)}") from error


def _endpoint(settings: Settings, address: str | None, service: str) -> str | None:
    """Return the emulator's address once it answers, or None where Google is meant."""
    if address:
        probe(address, service)
        return address
    if settings.profile == "local":
        raise NotReadyError(
            f"No local {service} is running.",
            tried=[f"{settings.home}/stack.json", "the MBATS_* environment variables"],
            mend="mbats up (or --profile gcp for Google Cloud)",
        )
    return None


def _local_session() -> AuthorizedSession:
    session = AuthorizedSession(AnonymousCredentials())
    session.trust_env = False  # a proxy has no business between here and the loopback
    session.mount("http://", _LocalTransport(pool_maxsize=16))
    return session


@contextmanager
def _credentials_needed() -> Iterator[None]:
    try:
        yield
    except DefaultCredentialsError as error:
        raise NotReadyError(
            "There are no Google credentials.",
            tried=["application default credentials"],
            mend="gcloud auth application-default login",
        ) from error


def _silent(url: str) -> NotReadyError:
    return NotReadyError(
        "A local service stopped answering.",
        tried=[url],
        mend="mbats up, then run it again: nothing is lost or doubled",
    )


def _first_line(error: Exception) -> str:
    return (getattr(error, "message", None) or str(error)).strip().splitlines()[0]
