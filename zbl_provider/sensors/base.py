"""What both sensors share: poke, wait deferred, poke again, as every Airflow sensor does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, PokeReturnValue
from airflow.sdk.configuration import conf

from zbl_provider.hooks.failing import failing_for_good

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.triggers.base import BaseTrigger

_SHORTEST_INTERVAL_SECONDS = 1.0


class DeferrableSensor(BaseSensorOperator):
    """
    A sensor that asks databases, from a worker, or from the triggerer while it is deferred.

    The trigger only says when a look is worth while; what it means is found out by the task. So a
    database that stays away for a minute fails the task with its own error, and Airflow's `retries`
    go on from there.

    :param deferrable: wait without a worker; `[operators] default_deferrable` by default
    """

    def __init__(
        self,
        *,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.deferrable = deferrable

    def execute(self, context: Context) -> Any:  # noqa: ANN401  whatever the sensor returns
        """
        Wait, with a worker or without.

        :param context: Airflow's
        :return: the summary
        """
        if not self.deferrable:
            return super().execute(context)
        until = datetime.now(UTC) + timedelta(seconds=self.timeout)
        # As after a wait: so `soft_fail` and `never_fail` mean the first look, too.
        return self.resume_execution(self.look.__name__, {"until": until.isoformat()}, context)

    def look(self, context: Context, until: str, event: object = None) -> Any:  # noqa: ANN401  as `execute`
        """
        Look once; if the wait is not over, wait deferred.

        :param context: Airflow's
        :param until: when the sensor's `timeout` is over, ISO 8601
        :param event: of the trigger; the databases say more
        :return: the summary
        :raises AirflowSensorTimeout: when it is over
        """
        from airflow.sdk.exceptions import AirflowSensorTimeout

        if event:
            self.log.info("The trigger has fired: %s.", event)
        poked = self._poke(context)
        if not poked.is_done:
            left = datetime.fromisoformat(until) - datetime.now(UTC)
            if left <= timedelta(0):
                raise AirflowSensorTimeout(f"Sensor has timed out after {self.timeout:g} seconds.")
            with failing_for_good():
                trigger = self._trigger(max(self.poke_interval, _SHORTEST_INTERVAL_SECONDS))
            self.defer(
                trigger=trigger,
                method_name=self.look.__name__,
                kwargs={"until": until},
                timeout=left,
            )
        return poked.xcom_value

    def _trigger(self, seconds: float) -> BaseTrigger:
        raise NotImplementedError

    def _poke(self, context: Context) -> PokeReturnValue:
        """Poke as `BaseSensorOperator.execute` does, which would sleep afterwards."""
        from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

        try:
            poked = self.poke(context)
        except (AirflowFailException, AirflowSkipException):
            raise
        except Exception as problem:
            if self.silent_fail:
                self.log.exception("This poke failed; the sensor goes on.")
                return PokeReturnValue(is_done=False)
            if self.never_fail:
                raise AirflowSkipException(
                    "Skipping due to never_fail is set to True."
                ) from problem
            raise
        return poked if isinstance(poked, PokeReturnValue) else PokeReturnValue(bool(poked))
