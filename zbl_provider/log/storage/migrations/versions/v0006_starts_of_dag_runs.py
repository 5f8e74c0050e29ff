"""When Airflow set the Dag run of a task going, by which a clear is told from a retry."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

instant = sa.DateTime(timezone=True).with_variant(sa.String(), "sqlite")


def upgrade() -> None:
    """Add a column; of a run of before it is not known, and is noted at its next try."""
    op.add_column("zbl_run", sa.Column("dag_run_started_at", instant))
