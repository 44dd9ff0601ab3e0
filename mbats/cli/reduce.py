"""`mbats reduce`: the kill switch's `reduce`."""

import typer

from mbats.cli import context
from mbats.cli.output import JsonFlag
from mbats.cli.switch import (
    AccountOption,
    WhyOption,
    YesFlag,
    account_of,
    actor,
    confirm,
    show,
)

app = typer.Typer()


@app.command(epilog='Example: mbats reduce --yes --why "central bank at 14:00"')
def reduce(
    account: AccountOption = None,
    why: WhyOption = "by hand",
    yes: YesFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Allow only orders that shrink a position, until `mbats resume`."""
    from mbats.desk import Desk
    from mbats.desk.switch import state_switch

    meant = account_of(account)
    confirm(f"Only let positions of account {meant} shrink?", yes, as_json)
    with Desk(context.settings()) as desk:
        show(state_switch(desk, meant, actor()).reduce(why), as_json)
