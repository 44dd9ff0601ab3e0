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
    say_flat,
    show,
)
from mbats.live.killswitch import WATCH

app = typer.Typer()


@app.command(epilog='Example: mbats flatten --yes --why "the bot is frozen"')
def flatten(
    account: AccountOption = None,
    why: WhyOption = "by hand",
    within: Annotated[float, typer.Option(help="seconds until it counts as failed")] = 30.0,
    watch: Annotated[
        float, typer.Option(min=0, help="seconds to look on for orders that were on their way")
    ] = WATCH.total_seconds(),
    no_watch: Annotated[bool, typer.Option("--no-watch", help="end as soon as it is flat")] = False,
    yes: YesFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Halt an account, cancel all its orders and close all its positions at the broker.

    Needs no bot: it works while the bot is dead, frozen or wild. It says at once when all is flat,
    then closes what a bot that froze as it sent still had on its way: --watch is to be 20 seconds
    more than the bot's limit price-age. Exit code 7 where something is left; run it again, it
    repeats nothing that does harm.
    """
    from mbats.desk import Desk
    from mbats.desk.switch import kill_switch

    meant = account_of(account)
    confirm(f"Close everything on account {meant} and halt it?", yes, as_json)
    with Desk(context.settings()) as desk:
        switch = kill_switch(desk, meant, actor())
        looking_on = timedelta(seconds=0 if no_watch else watch)
        report = switch.flatten(
            why, timedelta(seconds=within), looking_on, lambda report: say_flat(report, looking_on)
        )
        show(report, as_json)
