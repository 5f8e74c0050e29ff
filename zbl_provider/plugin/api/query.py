"""What the page asks for: its filters become a query of the log."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends
from fastapi import Query as FromUrl
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from zbl_provider.log.browse.model import Query
from zbl_provider.log.model import Status
from zbl_provider.log.storage.tables import LARGEST_NUMBER
from zbl_provider.log.storage.text import storable
from zbl_provider.plugin.api.access import Readable

MOST_CHOSEN = 1000
# There are no leads from before Airflow. Beyond these two, neither Python nor a database can
# calculate with every moment that a person may type.
_FIRST = datetime(2000, 1, 1, tzinfo=UTC)
_LAST = datetime(2200, 1, 1, tzinfo=UTC)

Text = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(storable)]
Number = Annotated[int, Field(ge=1, le=LARGEST_NUMBER)]
"""Of a lead in the log."""
EmailHash = Annotated[str, Field(pattern=r"^[0-9a-f]{16}(\.[0-9a-f]{16}){0,31}$")]
"""What stands for a person's email in an address: a hash for each key, with dots between."""
_MapIndex = Annotated[int, Field(ge=-1, le=2**31 - 1)]


_Instant = Annotated[
    AwareDatetime,
    AfterValidator(lambda moment: min(max(moment, _FIRST), _LAST).astimezone(UTC)),
]


def email_hash_of(hashes: Iterable[int]) -> str:
    """Return what stands for a person in an address, made of what rests beside the leads."""
    return ".".join(value.to_bytes(8, "big", signed=True).hex() for value in hashes)


def hashes_of(email_hash: str) -> tuple[int, ...]:
    """Return what rests beside the leads of the person that an address means."""
    parts = email_hash.split(".")
    return tuple(int.from_bytes(bytes.fromhex(part), "big", signed=True) for part in parts)


class Filter(BaseModel):
    """The filters of the page; what is missing is not asked for. See `log.browse.model.Query`."""

    model_config = ConfigDict(extra="forbid")

    status: Status | None = None
    integration: Text | None = None
    dag_id: Text | None = None
    task_id: Text | None = None
    run_id: Text | None = None
    map_index: _MapIndex | None = None
    since: _Instant | None = None
    until: _Instant | None = None
    lead_id: Text | None = None
    email_hash: EmailHash | None = None

    def query(self, dags: frozenset[str] | None) -> Query:
        """Return the query, which finds nothing outside of the given Dags."""
        given = dict(self)
        hashes = given.pop("email_hash")
        return Query(**given, dags=dags, email_hashes=hashes_of(hashes) if hashes else None)


class Parameters(Filter):
    """The same in an address, among other parameters."""

    model_config = ConfigDict(extra="ignore")


class Person(BaseModel):
    """Whom to look for; in a body, since addresses are written into logs and histories."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    email: Text


class Chosen(BaseModel):
    """Which leads to resend: some by number, or all in error that the filters find."""

    model_config = ConfigDict(extra="forbid")

    ids: list[Number] | None = Field(default=None, min_length=1, max_length=MOST_CHOSEN)
    filter: Filter | None = None


class Hastening(Chosen):
    """Which waiting leads to send now: some by number, or all that the filters find."""

    after: int = Field(default=0, ge=0, le=LARGEST_NUMBER)


class TaskInstance(BaseModel):
    """A task instance, as Airflow's REST API names it."""

    model_config = ConfigDict(extra="forbid")

    dag_id: Text
    task_id: Text
    run_id: Text
    map_index: _MapIndex = -1


class NotCleared(BaseModel):
    """Task instances that Airflow did not clear."""

    model_config = ConfigDict(extra="forbid")

    runs: list[TaskInstance] = Field(max_length=10_000)


async def asked(given: Annotated[Parameters, FromUrl()], dags: Readable) -> Query:
    """Return the query of a request's parameters, as far as the user may see."""
    return given.query(dags)


async def now() -> datetime:
    """Return the present time; a dependency, so that tests can have another."""
    return datetime.now(UTC)


def in_error(query: Query) -> Query:
    """Return the query for those of its leads that are in error."""
    return replace(query, status=Status.ERROR)


Now = Annotated[datetime, Depends(now)]
Asked = Annotated[Query, Depends(asked)]
