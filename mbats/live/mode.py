"""Paper, practice or live money: who may, and how it is told apart at a glance."""

from datetime import datetime
from enum import StrEnum

from mbats.config import Settings
from mbats.errors import RefusedError
from mbats.market.session import FX


class Mode(StrEnum):
    """What an order of this session moves. The value is the kind of its run."""

    PAPER = "paper"
    PRACTICE = "practice"
    LIVE = "live"


def require_mode(settings: Settings, mode: Mode, account: str, *, armed: bool) -> None:
    """Raise :class:`RefusedError` unless the session may trade in this mode.

    Live money needs three things said independently: the environment of the settings, ``--arm``,
    and the account on the list. Nothing else may come near a live environment.
    """
    environment = settings.oanda_environment
    if mode is Mode.LIVE:
        checks = {
            "oanda_environment is live": environment == "live",
            "--arm is given": armed,
            f"{account} is in live_accounts": settings.may_trade_live(account),
        }
        if not all(checks.values()):
            raise RefusedError(
                "Live money is not armed. Nothing was started.",
                tried=[f"{what}: {'yes' if so else 'no'}" for what, so in checks.items()],
                mend="all three must be so; or use --practice or --paper",
            )
    elif armed:
        raise RefusedError(f"--arm has no meaning with --{mode}.", mend="leave --arm out")
    elif mode is Mode.PRACTICE and environment == "live":
        raise RefusedError(
            "A practice session on OANDA's live environment would trade live money.",
            mend="set MBATS_OANDA_ENVIRONMENT=practice (or sim)",
        )


def banner(mode: Mode, account: str, where: str) -> str:
    """Return the line that begins the session, on the screen and in the log."""
    money = {
        Mode.PAPER: "live prices, simulated fills, no money",
        Mode.PRACTICE: f"{where}, no money",
        Mode.LIVE: f"{where}, REAL MONEY",
    }[mode]
    return f"=== {mode.upper()} === account {account}: {money}"


def week_end(now: datetime) -> datetime:
    """Return when the FX week of ``now`` closes; on a weekend, when the coming one does."""
    return FX.next_close(now)
