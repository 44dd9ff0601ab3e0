"""`mbats replay`: dead letters, published again."""

import getpass
from datetime import datetime
from typing import Annotated

import typer

from mbats.cli import context
from mbats.cli.output import JsonFlag, emit_json, errors, people, table
from mbats.errors import DataError

SHOWN = 20
app = typer.Typer()


@app.command(epilog="Example: mbats replay order-events --since 2026-11-20 --dry-run")
def replay(
    topic: Annotated[str, typer.Argument(help="ticks, order-events or risk-events")],
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="only those of this day (UTC) and later"),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="also what was replayed before and came back")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be published")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Publish a topic's dead letters again, once the cause is mended.

    They keep their event ids, so that the views show each once; a second replay publishes nothing.
    Exits with 3 where the topic refuses a message.
    """
    from mbats.desk import Desk
    from mbats.desk.events.dead_letter import replay as replayed

    with Desk(context.settings()) as desk:
        day = since.date() if since else None
        done = replayed(desk, topic, day, by=getpass.getuser(), again=again, dry_run=dry_run)
    if as_json:
        emit_json(
            {
                "topic": topic,
                "dry_run": dry_run,
                "found": done.found,
                "already_replayed": done.already,
                "came_back": done.back,
                "published": done.published,
                "refused": [{"object": name, "reason": why} for name, why in done.refused],
                "messages": [letter.name for letter in done.letters],
            }
        )
    else:
        if done.letters and dry_run:
            rows = [
                (letter.published_at.isoformat(timespec="seconds"), letter.reason[:60], letter.name)
                for letter in done.letters[:SHOWN]
            ]
            people.print(table("Would publish", ("published", "reason", "object"), rows))
        for name, why in done.refused:
            errors.print(f"refused  {name}: {why}", markup=False)
        verb = "would be" if dry_run else "were"
        count = len(done.letters) if dry_run else done.published
        people.print(
            f"{done.found} dead letters of {topic}, {done.already} replayed before; "
            f"{count} {verb} published."
        )
        if done.back:
            people.print(
                f"{done.back} came back after a replay: look at their reasons, mend the cause, "
                "then --again."
            )
    if done.refused:
        raise typer.Exit(DataError.exit_code)
