"""The folder that Airflow reads its DAGs from: in a bucket of Composer, or on this machine."""

import os
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mbats.config import Settings
from mbats.errors import NotReadyError
from mbats.gcp import connection
from mbats.gcp.connection import speaking

CONTROL = "control"
"""Where under the DAGs the control files lie."""


class DagFolder:
    """Puts control files where the DAGs look for them. ``say`` is told where there is no place."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.dag_folder or ""
        if not self._folder and settings.profile == "local":
            self._folder = str(settings.home.resolve().parent / "composer_dags")

    def put(self, name: str, content: bytes) -> str:
        """Write ``control/<name>`` whole; return where it lies.

        Nothing is written where there is no such folder: a desk without Airflow. Raises
        :class:`NotReadyError` where it cannot be written.
        """
        if not self._folder:
            return ""
        if self._folder.startswith("gs://"):
            return self._put_object(f"{self._folder.rstrip('/')}/{CONTROL}/{name}", content)
        return self._put_file(Path(self._folder), name, content)

    def _put_object(self, address: str, content: bytes) -> str:
        parts = urlsplit(address)
        client: Any = connection.storage_client(self._settings)
        with speaking(f"Write {address}"):
            blob = client.bucket(parts.netloc).blob(parts.path.lstrip("/"))
            blob.upload_from_string(content, content_type="text/csv")
        client.close()
        return address

    def _put_file(self, folder: Path, name: str, content: bytes) -> str:
        """Replace the file at once: Airflow may read it at any time."""
        if not folder.is_dir():
            return ""
        file = folder / CONTROL / name
        try:
            if file.is_file() and file.read_bytes() == content:
                return str(file)
            file.parent.mkdir(exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as draft:
                draft.write(content)
            os.chmod(draft.name, 0o644)
            os.replace(draft.name, file)
        except OSError as error:
            raise NotReadyError(
                f"{file} cannot be written: {error.strerror}.",
                mend="look at the setting dag_folder",
            ) from error
        return str(file)
