"""Turns a registry's list of images into Terraform's `images` variable.

    gcloud artifacts docker images list REGISTRY --include-tags --format=json | digests.py TAG

Prints JSON: for each image that has the tag, NAME@sha256:..., under the variable's name for it.
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
            name = entry["package"].rsplit("/", 1)[1].replace("-", "_")
            found[name] = f"{entry['package']}@{entry['version']}"
    return found


if __name__ == "__main__":
    json.dump({"images": images(json.load(sys.stdin), sys.argv[1])}, sys.stdout, indent=2)
