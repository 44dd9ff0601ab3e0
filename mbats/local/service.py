"""What a service of the local stack is. A new one is one more :class:`Service`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mbats.config import Settings
from mbats.local.environments import Environment, Environments, Say, silent
from mbats.local.ports import HOST

Ports = Mapping[str, int]


@dataclass(frozen=True)
class Site:
    """Where a stack stands: its settings, folders, environments and the ports of every service."""

    settings: Settings
    ports: Mapping[str, Ports] = field(default_factory=dict)
    say: Say = silent

    @property
    def home(self) -> Path:
        """The folder of the stack's state, absolute."""
        return self.settings.home.resolve()

    @property
    def environments(self) -> Environments:
        """The virtual environments; several stacks may share them."""
        return Environments((self.settings.venvs or self.home / "venvs").resolve())

    def environment(self, environment: Environment) -> Path:
        """Return the folder of an environment; make it where it is missing."""
        return self.environments.ensure(environment, self.say)

    def data(self, service: str) -> Path:
        """Return the folder that a service keeps its data in."""
        return self.home / "data" / service

    def log(self, service: str) -> Path:
        """Return the file that a service's output goes to."""
        return self.home / "logs" / f"{service}.log"

    def address(self, service: str, port: str = "http") -> str:
        """Return host:port of a service."""
        return f"{HOST}:{self.ports[service][port]}"

    def desk_environment(self) -> dict[str, str]:
        """Return the variables by which a process of the desk finds this stack."""
        settings = self.settings
        return {
            "MBATS_PROFILE": "local",
            "MBATS_HOME": str(self.home),
            "MBATS_PROJECT": settings.project,
            "MBATS_LOCATION": settings.location,
            "MBATS_SECURITY_MASTER": settings.security_master,
            "MBATS_RISK": settings.risk,
            "MBATS_STAGING_DATASET": settings.staging_dataset,
            "MBATS_BUCKET_PREFIX": settings.bucket_prefix,
            "MBATS_BIGQUERY_ENDPOINT": f"http://{self.address('bigquery')}",
            "MBATS_BIGQUERY_GRPC": self.address("bigquery", "grpc"),
            "MBATS_STORAGE_ENDPOINT": f"http://{self.address('storage')}",
            "MBATS_PUBSUB_ENDPOINT": self.address("pubsub"),
        }


@dataclass(frozen=True)
class Launch:
    """How a service is started. Another launch than the running one means: start it anew."""

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    version: str = ""


def _nothing(site: Site) -> None:
    """Fetch or prepare nothing."""


@dataclass(frozen=True)
class Service:
    """One service of the stack.

    ``ports`` maps a port's name to its preferred number; ``http``, if there is one, answers GET
    ``health`` with 200 when the service is ready (without ``health``: when its ports are open,
    or without ports: as long as it lives). ``launch`` says how to start it on a site.
    ``fetch`` gets what ``launch`` needs and the machine may lack; it may take minutes.
    ``prepare`` runs after it is healthy, at every ``up``, and must be idempotent. ``endpoints``
    are the settings that point the desk at it.
    """

    name: str
    title: str
    ports: Ports
    launch: Callable[[Site], Launch]
    health: str = ""
    fetch: Callable[[Site], object] = _nothing
    prepare: Callable[[Site], object] = _nothing
    endpoints: Callable[[Site], Mapping[str, str]] = lambda site: {}
