"""`mbats flatten`: halt, cancel every order, close every position, at the broker itself."""

from datetime import timedelta
from typing import Annotated

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


@app.command(epilog='Example: mbats flatten --yes --why "the bot is frozen"')
def flatten(
    account: AccountOption = None,
    why: WhyOption = "by hand",
    within: Annotated[float, typer.Option(help="seconds until it counts as failed")] = 30.0,
    yes: YesFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Halt an account, cancel all its orders and close all its positions at the broker.

    Needs no bot: it works while the bot is dead, frozen or wild. Exit code 7 where something is
    left; run it again, it repeats nothing that does harm.
    """
    from mbats.desk import Desk
    from mbats.desk.switch import kill_switch

    meant = account_of(account)
    confirm(f"Close everything on account {meant} and halt it?", yes, as_json)
    with Desk(context.settings()) as desk:
        switch = kill_switch(desk, meant, actor())
        show(switch.flatten(why, timedelta(seconds=within)), as_json)
