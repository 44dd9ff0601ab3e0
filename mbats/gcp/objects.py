"""Files in Cloud Storage, thinly: bytes in, bytes out, guarded by generation."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from google.api_core import exceptions
from google.cloud import storage

from mbats.config import Settings
from mbats.errors import RefusedError
from mbats.gcp import connection
from mbats.gcp.connection import speaking

BucketName = Literal["control", "data", "models", "reports", "state"]


@dataclass(frozen=True)
class StoredObject:
    """An object's name, size in bytes, generation and time of writing (UTC)."""

    name: str
    size: int
    generation: int
    updated: datetime


class Objects:
    """The desk's buckets. ``bucket`` is the short name; the settings know the full one."""

    def __init__(self, settings: Settings, client: storage.Client) -> None:
        self._settings = settings
        self._client = client

    @classmethod
    def open(cls, settings: Settings) -> "Objects":
        """Connect. Raises :class:`~mbats.errors.NotReadyError` where nothing answers."""
        return cls(settings, connection.storage_client(settings))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def missing_buckets(self) -> list[BucketName]:
        """Return the desk's buckets that do not exist."""
        with speaking("Look for the buckets"):
            found = {bucket.name for bucket in self._client.list_buckets()}
        return [name for name in get_args(BucketName) if self._settings.bucket(name) not in found]

    def make_bucket(self, bucket: BucketName) -> None:
        """Make one of the desk's buckets. In the cloud Terraform does, with all its settings."""
        with speaking(f"Make the bucket {bucket}"):
            self._client.create_bucket(self._settings.bucket(bucket))

    def write(
        self,
        bucket: BucketName,
        name: str,
        content: bytes,
        *,
        content_type: str = "application/octet-stream",
        if_generation: int | None = None,
    ) -> int:
        """Write an object and return its generation.

        ``if_generation`` is the generation that must be there, 0 for none at all. Raises
        :class:`RefusedError` where another writer was first; nothing is written then.
        """
        full = self._settings.bucket(bucket)
        blob = self._client.bucket(full).blob(name)
        with speaking(f"Write {full}/{name}"):
            try:
                blob.upload_from_string(
                    content, content_type=content_type, if_generation_match=if_generation
                )
            except exceptions.PreconditionFailed as error:
                raise RefusedError(
                    f"{full}/{name} is not at generation {if_generation}: another was first.",
                    mend="read it again, then write",
                ) from error
        return int(blob.generation)

    def read(self, bucket: BucketName, name: str) -> tuple[bytes, int] | None:
        """Return an object's bytes and the generation they are of, or None where it is missing."""
        full = self._settings.bucket(bucket)
        with speaking(f"Read {full}/{name}"):
            while True:
                blob = self._client.bucket(full).get_blob(name)
                if blob is None:
                    return None
                generation = int(blob.generation)
                try:
                    return blob.download_as_bytes(if_generation_match=generation), generation
                except (exceptions.NotFound, exceptions.PreconditionFailed):
                    continue  # replaced between the two calls: read the newer one

    def remove(self, bucket: BucketName, name: str, if_generation: int) -> None:
        """Remove an object; one that is gone already stays gone.

        Raises :class:`RefusedError` where it is no longer the one of ``if_generation``.
        """
        full = self._settings.bucket(bucket)
        with speaking(f"Remove {full}/{name}"):
            try:
                self._client.bucket(full).blob(name).delete(if_generation_match=if_generation)
            except exceptions.NotFound:
                return
            except exceptions.PreconditionFailed as error:
                raise RefusedError(
                    f"{full}/{name} is not at generation {if_generation}: another was first.",
                    mend="read it again, then remove it",
                ) from error

    def list(self, bucket: BucketName, prefix: str = "") -> Iterator[StoredObject]:
        """Yield the objects whose names begin with ``prefix``, in order of name."""
        full = self._settings.bucket(bucket)
        with speaking(f"List {full}/{prefix}"):
            for blob in self._client.list_blobs(full, prefix=prefix):
                yield StoredObject(blob.name, blob.size, int(blob.generation), blob.updated)

    def address(self, bucket: BucketName, name: str) -> str:
        """Return the object's gs:// address."""
        return f"gs://{self._settings.bucket(bucket)}/{name}"
