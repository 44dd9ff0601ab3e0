"""`mbats resume`: end a halt, once the account is proven to be what the bot's journal says."""

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


@app.command(epilog='Example: mbats resume --yes --why "mended and looked at"')
def resume(
    account: AccountOption = None,
    why: WhyOption = "by hand",
    yes: YesFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Allow an account to trade again after `halt`, `reduce` or `flatten`.

    Refused, with every mismatch, unless the broker's account is exactly what the bot's journal and
    the broker's log add up to.
    """
    from mbats.desk import Desk
    from mbats.desk.switch import kill_switch, proof

    meant = account_of(account)
    confirm(f"Let account {meant} trade again?", yes, as_json)
    with Desk(context.settings()) as desk:
        switch = kill_switch(desk, meant, actor())
        show(switch.resume(why, proof(desk, meant)), as_json)
