"""Turns a registry's list of images into Terraform's `images` variable.

    gcloud artifacts docker images list REGISTRY --include-tags --format=json |
        digests.py TAG [NAME ...]

Prints JSON: for each image that has the tag, NAME@sha256:..., under the variable's name for it.
Ends with 1 where a name given has no image of that tag: half a desk is not deployed.
"""

import json
import sys


def images(listed: list[dict], tag: str) -> dict[str, str]:
    """Return image references by the key of the `images` variable."""
    found = {}
    for entry in listed:
        tags = entry.get("tags") or []
        tags = tags.split(",") if isinstance(tags, str) else tags
        if tag in (t.strip() for t in tags):
            found[key(entry["package"].rsplit("/", 1)[1])] = (
                f"{entry['package']}@{entry['version']}"
            )
    return found


def key(name: str) -> str:
    """Return the variable's name for an image."""
    return name.replace("-", "_")


def main(tag: str, *wanted: str) -> int:
    """Read the list, print the variable; return the exit code."""
    found = images(json.load(sys.stdin), tag)
    missing = [name for name in wanted if key(name) not in found]
    if missing:
        print(f"The registry has no image {', '.join(missing)} of {tag}.", file=sys.stderr)
        return 1
    json.dump({"images": found}, sys.stdout, indent=2)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
