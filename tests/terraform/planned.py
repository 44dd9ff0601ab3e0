"""What tests read out of a planned resource."""

from collections.abc import Iterator
from typing import Any


def blocks(values: dict[str, Any], path: str) -> Iterator[dict[str, Any]]:
    """Yield every block at a path of nested blocks; the resource itself at the empty path."""
    if not path:
        yield values
        return
    first, _, rest = path.partition(".")
    for block in values.get(first) or ():
        yield from blocks(block, rest)


def given(values: dict[str, Any], attribute: str) -> Iterator[Any]:
    """Yield every value that is planned for an attribute, which may lie in nested blocks."""
    path, _, last = attribute.rpartition(".")
    for block in blocks(values, path):
        if block.get(last) not in (None, ""):
            yield block[last]
