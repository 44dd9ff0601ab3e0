"""The composition root: opens the outer rooms (stores, vendors) that the settings ask for."""

from contextlib import ExitStack
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING

from mbats.config import Settings

if TYPE_CHECKING:
    from mbats.gcp.objects import Objects
    from mbats.gcp.risk_store import RiskStore
    from mbats.gcp.security_master import SecurityMaster
    from mbats.gcp.warehouse import Warehouse


class Desk:
    """The stores that the settings name, each opened when it is first asked for.

    Use it in a ``with`` statement; its end closes what was opened. Opening raises
    :class:`~mbats.errors.NotReadyError` where a service does not answer.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._opened = ExitStack()

    def __enter__(self) -> "Desk":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._opened.close()

    @cached_property
    def warehouse(self) -> "Warehouse":
        """BigQuery."""
        from mbats.gcp.warehouse import Warehouse

        warehouse = Warehouse.open(self.settings)
        self._opened.callback(warehouse.close)
        return warehouse

    @cached_property
    def security_master(self) -> "SecurityMaster":
        """Instruments, bars, watchlist, data quality."""
        from mbats.gcp.security_master import SecurityMaster

        return SecurityMaster(self.warehouse)

    @cached_property
    def risk_store(self) -> "RiskStore":
        """Runs and their results."""
        from mbats.gcp.risk_store import RiskStore

        return RiskStore(self.warehouse)

    @cached_property
    def objects(self) -> "Objects":
        """Files in Cloud Storage: control files, reports."""
        from mbats.gcp.objects import Objects

        objects = Objects.open(self.settings)
        self._opened.callback(objects.close)
        return objects
