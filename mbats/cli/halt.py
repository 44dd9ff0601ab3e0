"""`mbats halt`: the kill switch's `halt`."""

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


@app.command(epilog='Example: mbats halt --yes --why "prices look wrong"')
def halt(
    account: AccountOption = None,
    why: WhyOption = "by hand",
    yes: YesFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Forbid every order on an account, whatever its bot does. Positions stay.

    Their stops stay at the broker. It survives restarts, until `mbats resume`."""
    from mbats.desk import Desk
    from mbats.desk.switch import state_switch

    meant = account_of(account)
    confirm(f"Halt account {meant}?", yes, as_json)
    with Desk(context.settings()) as desk:
        show(state_switch(desk, meant, actor()).halt(why), as_json)
