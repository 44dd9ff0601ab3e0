"""`mbats init`: the datasets, tables and views, as the schema files say; local buckets too."""

from typing import TYPE_CHECKING, Annotated

import typer

from mbats.cli import context
from mbats.cli.output import JsonFlag, emit_json, people, table

if TYPE_CHECKING:
    from mbats.desk import Desk
    from mbats.gcp.tables import Change

app = typer.Typer()


@app.command(epilog="Example: mbats init --dry-run")
def init(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would change")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Make the datasets, tables and views, or bring them up to date.

    Adds what is missing and changes nothing else; run it as often as you like. A change that
    would destroy data is refused, with the table and the column.
    """
    from mbats.desk import Desk

    with Desk(context.settings()) as desk:
        changes = make_all(desk, dry_run)
    if as_json:
        emit_json([{"name": c.name, "action": c.action, "details": c.details} for c in changes])
        return
    touched = [change for change in changes if change.action != "unchanged"]
    if touched:
        title = "Would change" if dry_run else "Changed"
        rows = [(c.name, c.action, ", ".join(c.details)) for c in touched]
        people.print(table(title, ("name", "action", "what"), rows))
    unchanged = len(changes) - len(touched)
    people.print(
        f"{unchanged} unchanged." if touched else f"Nothing changed ({unchanged} checked)."
    )


def make_all(desk: "Desk", dry_run: bool = False) -> "list[Change]":
    """Make or complete tables, views and, locally, buckets; return what was looked at."""
    from mbats import schemas
    from mbats.gcp.tables import apply_tables
    from mbats.gcp.views import FOLDER, apply_views

    changes = apply_tables(desk.warehouse, schemas.all_tables().values(), dry_run)
    changes += apply_views(desk.warehouse, FOLDER, dry_run)
    if desk.settings.profile == "local":  # in the cloud Terraform makes the buckets
        changes += _buckets(desk, dry_run)
    return changes


def _buckets(desk: "Desk", dry_run: bool) -> "list[Change]":
    from mbats.gcp.tables import Change

    missing = desk.objects.missing_buckets()
    for bucket in missing if not dry_run else ():
        desk.objects.make_bucket(bucket)
    return [Change(f"gs://{desk.settings.bucket(bucket)}", "created") for bucket in missing]
