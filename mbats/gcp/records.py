"""A small JSON document in a bucket that several processes change, none unseen by the others."""

import json
from collections.abc import Mapping
from typing import Any

from mbats.errors import NotReadyError
from mbats.gcp.objects import BucketName, Objects


class Record:
    """One document, replaced only by who has read the newest one."""

    def __init__(self, objects: Objects, bucket: BucketName, name: str) -> None:
        self._objects = objects
        self._bucket = bucket
        self._name = name

    def read(self) -> tuple[dict[str, Any] | None, int]:
        """Return the document and its generation; None and 0 where there is none.

        Raises :class:`NotReadyError` for what is no JSON object: a person must look.
        """
        found = self._objects.read(self._bucket, self._name)
        if found is None:
            return None, 0
        content, generation = found
        try:
            document = json.loads(content)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            address = self._objects.address(self._bucket, self._name)
            raise NotReadyError(
                f"{address} is damaged: it is no JSON object.", mend="look at it, then remove it"
            )
        return document, generation

    def write(self, document: Mapping[str, Any], generation: int) -> int:
        """Replace the document of ``generation``; return the new one.

        Raises :class:`~mbats.errors.RefusedError` where another was first.
        """
        return self._objects.write(
            self._bucket,
            self._name,
            json.dumps(document, separators=(",", ":")).encode(),
            content_type="application/json",
            if_generation=generation,
        )
