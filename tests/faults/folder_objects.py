"""Cloud Storage for processes of one machine that never run at once: objects are files."""

from pathlib import Path
from urllib.parse import quote, unquote

from mbats.errors import RefusedError
from mbats.gcp.objects import StoredObject
from tests.faults.wire import EPOCH


class FolderObjects:
    """What the lease and the journal use of :class:`~mbats.gcp.objects.Objects`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)

    def read(self, bucket: str, name: str) -> tuple[bytes, int] | None:
        path = self._path(bucket, name)
        if not path.exists():
            return None
        generation, _, content = path.read_bytes().partition(b"\n")
        return content, int(generation)

    def write(
        self, bucket: str, name: str, content: bytes, *, content_type: str, if_generation: int
    ) -> int:
        found = self.read(bucket, name)
        known = 0 if found is None else found[1]
        if known != if_generation:
            raise RefusedError(f"{name} is of generation {known}, not {if_generation}.")
        self._path(bucket, name).write_bytes(b"%d\n%s" % (known + 1, content))
        return known + 1

    def list(self, bucket: str, prefix: str) -> list[StoredObject]:
        names = sorted(unquote(path.name) for path in self._folder.iterdir())
        full = f"{bucket}/{prefix}"
        return [
            StoredObject(name.removeprefix(f"{bucket}/"), 1, 0, EPOCH)
            for name in names
            if name.startswith(full)
        ]

    def _path(self, bucket: str, name: str) -> Path:
        return self._folder / quote(f"{bucket}/{name}", safe="")
