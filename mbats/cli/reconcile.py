"""`mbats reconcile`: the proof that the broker's log, the journal and the risk store agree."""

from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mbats.cli import context
from mbats.cli.output import JsonFlag, emit_json, people
from mbats.errors import ConfigError

if TYPE_CHECKING:
    from mbats.desk.reconcile import Outcome

app = typer.Typer()


@app.command(epilog="Example: mbats reconcile --account 101-001-1234567-001 --repair")
def reconcile(
    account: Annotated[
        list[str] | None, typer.Option("--account", help="default: every account of the desk")
    ] = None,
    session_date: Annotated[
        str | None,
        typer.Option(help="only accounts that had a session on this trading day, 2026-11-23"),
    ] = None,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="publish missing rows again; close what came after a flatten"
        ),
    ] = False,
    settling: Annotated[
        float, typer.Option(min=0, help="seconds that a row may be on its way; later ones wait")
    ] = 120.0,
    as_json: JsonFlag = False,
) -> None:
    """Prove that no fill is lost, doubled or nobody's, since the last proof.

    Compares the broker's log with the order journal and the risk store, row by row. Exit code 7
    where something does not agree and was not repaired. The next proof begins where all agreed.
    """
    from mbats.desk import Desk
    from mbats.desk import reconcile as proving
    from mbats.live.logs import log_as_json
    from mbats.live.proof import NotProvenError
    from mbats.live.wall_clock import WallClock

    settings, now = context.settings(), WallClock().now()
    log_as_json({}, [t.get_secret_value() for t in [settings.oanda_token] if t])
    with Desk(settings) as desk:
        if account:
            accounts = list(account)
        elif session_date:
            accounts = proving.accounts_on(desk, day_of(session_date), now)
        else:
            accounts = proving.traded_accounts(desk)
        settled_at = now - timedelta(seconds=settling)
        outcomes = [
            proving.reconcile(desk, each, now, settled_at, repair=repair) for each in accounts
        ]
    if as_json:
        emit_json({"accounts": [document(outcome) for outcome in outcomes]})
    else:
        _print(outcomes)
    left = [f"{o.account}: {f.kind} {f.subject}" for o in outcomes for f in o.open]
    if left:
        raise NotProvenError(
            f"{len(left)} findings are open.",
            tried=left[:10],
            mend="`mbats reconcile --repair` publishes missing rows again; look at the others",
        )


def day_of(text: str) -> date:
    """Return the date that an option gives. Raises :class:`ConfigError`."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{text!r} is no date.", mend="write it as 2026-11-23") from None


def document(outcome: "Outcome") -> dict[str, Any]:
    """Return an outcome in plain values."""
    proof = outcome.proof
    if proof is None:
        return {"account": outcome.account, "skipped": outcome.skipped, "findings": []}
    return {
        "account": outcome.account,
        "clean": proof.clean,
        "since": proof.since,
        "reached": proof.reached,
        "fills": proof.fills,
        "order_events": proof.order_events,
        "findings": [
            {
                "kind": f.kind,
                "subject": f.subject,
                "detail": f.detail,
                "repaired": f in outcome.repaired,
            }
            for f in proof.findings
        ],
    }


def _print(outcomes: "list[Outcome]") -> None:
    if not outcomes:
        people.print("No account had a session: nothing to prove.")
    for outcome in outcomes:
        proof = outcome.proof
        if proof is None:
            people.print(f"{outcome.account}: skipped: {outcome.skipped}", markup=False)
            continue
        verdict = "agrees" if proof.clean else f"{len(proof.findings)} findings"
        people.print(
            f"{outcome.account}: {verdict}; transactions {proof.since + 1} to {proof.reached}, "
            f"{proof.fills} fills, {proof.order_events} order events",
            markup=False,
        )
        for finding in proof.findings:
            again = " (mended)" if finding in outcome.repaired else ""
            line = f"  {finding.kind} {finding.subject}: {finding.detail}{again}"
            people.print(line, markup=False)
