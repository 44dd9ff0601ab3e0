"""Views: one SQL file a view in ``looker/views/<dataset>/``, applied as they stand.

A file holds the SELECT alone. ``{project}``, ``{security_master}`` and ``{risk}`` stand for the
names in the settings; other braces are the SQL's own.
"""

from collections.abc import Mapping
from pathlib import Path

from google.api_core import exceptions
from google.cloud import bigquery

from mbats.errors import ConfigError
from mbats.gcp.tables import Change, find_table
from mbats.gcp.warehouse import Warehouse
from mbats.schemas import DATASETS

_PACKAGED = Path(__file__).parents[1] / "_views"
_IN_TREE = Path(__file__).parents[2] / "looker" / "views"
FOLDER = _PACKAGED if _PACKAGED.is_dir() else _IN_TREE
"""The desk's own views: a wheel carries a copy."""


def apply_views(warehouse: Warehouse, folder: Path, dry_run: bool = False) -> list[Change]:
    """Create or replace every view whose text differs; return one :class:`Change` a view.

    Views may read one another: those that cannot be made yet wait for the others. Raises
    :class:`~mbats.errors.ConfigError` naming the view and BigQuery's reason.
    """
    waiting = _views(warehouse, folder)
    changes: list[Change] = []
    while waiting:
        failed: dict[str, exceptions.GoogleAPICallError] = {}
        for name, sql in waiting.items():
            try:
                changes.append(_apply(warehouse.client, name, sql, dry_run))
            except (exceptions.NotFound, exceptions.BadRequest) as error:
                failed[name] = error
        if len(failed) == len(waiting):
            name, reason = next(iter(failed.items()))
            raise ConfigError(
                f"View {name} cannot be made: {reason.message}",
                mend=f"correct its file in {folder}",
            ) from reason
        waiting = {name: waiting[name] for name in failed}
    return changes


def _views(warehouse: Warehouse, folder: Path) -> dict[str, str]:
    settings = warehouse.settings
    names: Mapping[str, str] = {
        "project": settings.project,
        "security_master": settings.security_master,
        "risk": settings.risk,
    }
    found = {}
    for dataset in DATASETS:
        for file in sorted((folder / dataset).glob("*.sql")):
            sql = file.read_text().strip().removesuffix(";")
            for placeholder, value in names.items():
                sql = sql.replace("{" + placeholder + "}", value)
            found[f"{settings.project}.{names[dataset]}.{file.stem}"] = sql
    return found


def _apply(client: bigquery.Client, name: str, sql: str, dry_run: bool) -> Change:
    found = find_table(client, name)
    if found is not None and (found.view_query or "").strip() == sql:
        return Change(name, "unchanged")
    view = bigquery.Table(name)
    view.view_query = sql
    if not dry_run and found is None:
        client.create_table(view)
    elif not dry_run:
        # The statement changes the view also on local-bigquery, which takes an update's text but
        # not its meaning; the update keeps the text as written, as Terraform does.
        client.query(f"CREATE OR REPLACE VIEW `{name}` AS\n{sql}").result()
        client.update_table(view, ["view_query"])
    return Change(name, "changed" if found is not None else "created")
