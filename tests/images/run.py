"""`make images-local`: builds every image for real, runs each one's entry point, prints the sizes.

    python -m tests.images.run [--install] [IMAGE ...]

A backtest job runs inside its image against the emulators and its rows are read back; the streamer
publishes a simulated broker's prices; MLflow answers and takes a model; the model server predicts
with it; the preview shows a page; the proxy tells its version; the tick pipeline makes bars. Ends
with 1 where anything fails or the job image is too large, with 2 where this machine cannot build.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from mbats.cli.output import people, table
from tests.images import building, stand_ins
from tests.images.building import ORDER, WORK, Buildah, CannotError
from tests.images.entry_points import RUNS, House
from tests.images.running import container

DESK_LIMIT_MB = 600
DISK_GB = 12  # vfs keeps every layer whole


def main(arguments: Sequence[str]) -> int:
    """Build and run; return the exit code."""
    parser = argparse.ArgumentParser(prog="make images-local")
    parser.add_argument("--install", action="store_true", help="install what Debian has of it")
    parser.add_argument("image", nargs="*", help=f"of {', '.join(ORDER)}; all where none is named")
    given = parser.parse_args(arguments)
    if unknown := {*given.image} - {*ORDER}:
        parser.error(f"no image {', '.join(sorted(unknown))}")
    images = [image for image in ORDER if not given.image or image in given.image]
    try:
        if given.install and (tools := building.missing_tools()):
            building.install_tools(tools)
    except CannotError as error:
        people.print(f"[bold red]IMAGES ARE NOT BUILT[/]: {error}")
        return 2
    if lines := lacking(images):
        people.print("[bold red]IMAGES ARE NOT BUILT[/], for this machine lacks:")
        for line in lines:
            people.print(f"* {line}")
        return 2
    return _all(images)


def lacking(images: Sequence[str]) -> list[str]:
    """Return what this machine lacks to build the images, a line each, and how to get it."""
    lines = []
    if os.geteuid():
        lines.append("root, in whose name files are put into images: sudo make images-local")
    if tools := building.missing_tools():
        install = f"apt-get install {' '.join(tools)}"
        lines.append(f"{' and '.join(tools)}: make images-local INSTALL=yes, which does {install}")
    if (need := stand_ins.needs_go(images)) and shutil.which("go") is None:
        lines.append(f"go, 1.21 or later, for {' and '.join(need)}: https://go.dev/doc/install")
    WORK.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(WORK).free / 1e9
    if not any(WORK.iterdir()) and free < DISK_GB:
        lines.append(f"{DISK_GB} GB of disk for {WORK}: {free:.0f} GB are free")
    return lines


def _all(images: Sequence[str]) -> int:
    buildah = Buildah()
    buildah.begin()
    rows, failed = [], False
    with tempfile.TemporaryDirectory() as name, ExitStack() as opened:
        house = House(Path(name), opened)
        for image in images:
            row, well = _one(buildah, house, image)
            rows.append(row)
            failed |= not well
            people.print(" ".join(row))
    people.print(table("Images", ("image", "MB", "built in", "ran"), rows, right=("MB",)))
    people.print("Sizes are of stand-ins for the official Python image and for Google's launcher.")
    people.print("make images-clean frees the disk that the images take.")
    return int(failed)


def _one(buildah: Buildah, house: House, image: str) -> tuple[tuple[str, str, str, str], bool]:
    began = time.monotonic()
    megabytes = 0.0
    try:
        stand_ins.make(buildah, [image])
        building.build(buildah, image)
        buildah.prune()
        took = time.monotonic() - began
        megabytes = buildah.size(building.tag(image)) / 1e6
        opened = house.opened.enter_context(container(buildah, image))
        said = RUNS[image](house, opened, house.folder)
    except (CannotError, RuntimeError, AssertionError) as error:
        return (image, f"{megabytes:.0f}", "", f"FAILED: {error}"), False
    well = image != "desk" or megabytes < DESK_LIMIT_MB
    note = "" if well else f"TOO LARGE, {DESK_LIMIT_MB} MB are allowed: "
    return (image, f"{megabytes:.0f}", f"{took:.0f} s", note + said), well


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
