"""One Settings object. Every setting says where its value came from.

Sources, strongest first: command-line flags, environment (``MBATS_*``), the file ``mbats.toml``,
the running local stack (``.mbats/stack.json``), defaults.
"""

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from mbats.errors import ConfigError

FILE_NAME = "mbats.toml"
HOME_NAME = ".mbats"
STACK_NAME = "stack.json"
ENV_PREFIX = "MBATS_"


class Settings(BaseModel):
    """What the desk needs to know about where it runs. Frozen; made by :func:`load`."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    profile: Literal["local", "gcp"] = Field(
        "local", description="where the desk runs: `local` emulators or `gcp`"
    )
    home: Path = Field(Path(HOME_NAME), description="folder of local state: data, logs, pids")
    venvs: Path | None = Field(
        None, description="folder of the stack's environments; `venvs` under the home where empty"
    )
    pubsub_jar: Path | None = Field(
        None, description="Google's Pub/Sub emulator jar; looked for where empty"
    )
    project: str = Field("mbats-local", description="Google Cloud project id")
    location: str = Field("EU", description="BigQuery and Cloud Storage location")
    account_currency: str = Field(
        "USD", description="ISO 4217 code that profit and loss are counted in", pattern="^[A-Z]{3}$"
    )
    security_master: str = Field("security_master", description="BigQuery dataset of market data")
    risk: str = Field("risk", description="BigQuery dataset of runs, fills and performance")
    staging_dataset: str = Field(
        "",
        description="BigQuery dataset in which batches wait; a table's own dataset where empty",
    )
    bucket_prefix: str = Field(
        "", description="prefix of the bucket names; the project id where empty"
    )
    bigquery_endpoint: str | None = Field(
        None, description="REST address of the local BigQuery, http://host:port"
    )
    bigquery_grpc: str | None = Field(
        None, description="Storage API address of the local BigQuery, host:port"
    )
    storage_endpoint: str | None = Field(
        None, description="address of the local Cloud Storage, http://host:port"
    )
    pubsub_endpoint: str | None = Field(None, description="address of the local Pub/Sub, host:port")
    cloud_run_endpoint: str | None = Field(
        None, description="address of the local Cloud Run, http://host:port"
    )
    oanda_environment: Literal["sim", "practice", "live"] = Field(
        "sim", description="which OANDA the desk talks to"
    )
    oanda_endpoint: str | None = Field(
        None, description="address of the OANDA simulator, http://host:port"
    )
    oanda_account: str | None = Field(None, description="OANDA account id")
    oanda_token: SecretStr | None = Field(None, description="OANDA access token; never in the file")
    oanda_kill_token: SecretStr | None = Field(
        None, description="the kill switch's own OANDA token; `oanda_token` where empty"
    )
    bot_name: str = Field(
        "",
        description="name of a bot's job: what its heartbeats call it in the log, and, with "
        "`-ticks`, its subscription, made elsewhere; a bot without one makes its own",
    )
    live_accounts: str = Field(
        "", description="OANDA accounts, with commas, that may trade live money"
    )
    guard_limits: str = Field(
        "",
        description="the risk guard's limits, `name=value` with commas; `ACCOUNT:name=value` for "
        "one account; the desk's own where empty",
    )
    notify_webhook: SecretStr | None = Field(
        None,
        description="who is told of alerts: `slack URL`, `telegram URL?chat_id=…`, `email URL`, "
        "one a line; never in the file",
    )
    dag_folder: str | None = Field(
        None,
        description="where Airflow reads DAGs, gs://bucket/dags or a folder; `composer_dags` "
        "beside the home where empty",
    )

    def may_trade_live(self, account: str) -> bool:
        """Tell whether the account is on the list of those that may trade live money."""
        return account in {name.strip() for name in self.live_accounts.split(",") if name.strip()}

    def bucket(self, name: Literal["control", "data", "models", "reports", "state"]) -> str:
        """Return the full name of one of the desk's buckets."""
        return f"{self.bucket_prefix or self.project}-{name}"


ENDPOINTS = (
    "bigquery_endpoint",
    "bigquery_grpc",
    "storage_endpoint",
    "pubsub_endpoint",
    "cloud_run_endpoint",
)
SECRETS = ("oanda_token", "oanda_kill_token", "notify_webhook")


@dataclass(frozen=True)
class Resolved:
    """Settings and, for every setting, the source that won."""

    settings: Settings
    origin: Mapping[str, str]

    def rows(self) -> list[tuple[str, str, str]]:
        """Return (setting, value, origin) for each setting; secrets are redacted."""
        values = self.settings.model_dump()
        return [
            (name, _shown(name, values[name]), self.origin[name]) for name in Settings.model_fields
        ]


def _shown(name: str, value: object) -> str:
    if value is None:
        return ""
    return "(set, hidden)" if name in SECRETS else str(value)


def find_home(start: Path) -> Path:
    """Return ``.mbats`` beside the nearest ``mbats.toml`` or ``.mbats`` at or above ``start``."""
    for folder in (start, *start.parents):
        if (folder / FILE_NAME).exists() or (folder / HOME_NAME).is_dir():
            return folder / HOME_NAME
    return start / HOME_NAME


def load(
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    start: Path | None = None,
) -> Resolved:
    """Resolve the settings.

    ``flags`` hold what the command line gave (None means not given), ``environ`` stands for
    ``os.environ``, ``start`` for the current folder. Raises :class:`ConfigError` that names the
    setting, the source of the bad value and every key that was looked at.
    """
    environ = os.environ if environ is None else environ
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    from_env = {
        name: environ[ENV_PREFIX + name.upper()]
        for name in Settings.model_fields
        if environ.get(ENV_PREFIX + name.upper())
    }
    _refuse_unknown_variables(environ)
    home = Path(given.get("home") or from_env.get("home") or find_home(start or Path.cwd()))
    file = home.parent / FILE_NAME
    from_file = _read_file(file)
    profile = given.get("profile") or from_env.get("profile") or from_file.get("profile") or "local"
    stack = home / STACK_NAME
    from_stack = _read_stack(stack) if profile == "local" else {}
    sources: list[tuple[str, Mapping[str, Any]]] = [
        ("flag", given),
        ("environment", from_env),
        (str(file), from_file),
        (str(stack), from_stack),
        ("default", {"home": home}),
    ]
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for name in Settings.model_fields:
        origin[name] = "default"
        for source, mapping in sources:
            if name in mapping:
                values[name], origin[name] = mapping[name], source
                break
    return Resolved(_checked(_validated(values, origin), origin), origin)


def _refuse_unknown_variables(environ: Mapping[str, str]) -> None:
    known = {ENV_PREFIX + name.upper() for name in Settings.model_fields}
    unknown = sorted(k for k in environ if k.startswith(ENV_PREFIX) and k not in known)
    if unknown:
        raise ConfigError(
            f"Unknown environment variable {unknown[0]}.",
            tried=sorted(known),
            mend=f"unset {unknown[0]}, or use one of the names above",
        )


def _read_file(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        values = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.", mend=f"correct {path}") from error
    unknown = sorted(set(values) - set(Settings.model_fields))
    if unknown:
        raise ConfigError(
            f"{path} holds an unknown setting {unknown[0]!r}.",
            tried=list(Settings.model_fields),
            mend=f"remove or rename it in {path}",
        )
    for name in SECRETS:
        if name in values:
            raise ConfigError(
                f"{path} holds the secret {name!r}; secrets do not belong in files.",
                mend=f"remove it and set {ENV_PREFIX}{name.upper()} in the environment",
            )
    return values


def _read_stack(path: Path) -> dict[str, Any]:
    try:
        endpoints = json.loads(path.read_text())["endpoints"]
    except (FileNotFoundError, json.JSONDecodeError, KeyError, TypeError):
        return {}  # no stack, or one that died half-written: `mbats doctor` tells
    return {name: endpoints[name] for name in Settings.model_fields if name in endpoints}


def _validated(values: dict[str, Any], origin: Mapping[str, str]) -> Settings:
    try:
        return Settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        shown = _shown(name, values.get(name))
        raise ConfigError(
            f"Setting {name!r} from {origin[name]} has a bad value {shown!r}: {first['msg']}.",
            tried=[
                f"--{name.replace('_', '-')}",
                ENV_PREFIX + name.upper(),
                f"{name} in {FILE_NAME}",
            ],
            mend=Settings.model_fields[name].description or "",
        ) from None


def _checked(settings: Settings, origin: Mapping[str, str]) -> Settings:
    """Refuse a cloud profile that would talk to an emulator: half the desk would be elsewhere."""
    if settings.profile == "gcp":
        for name in ENDPOINTS:
            if getattr(settings, name):
                raise ConfigError(
                    f"Profile `gcp` with the emulator address {name} (from {origin[name]}).",
                    mend=f"unset {ENV_PREFIX}{name.upper()}, or use profile `local`",
                )
    return settings
