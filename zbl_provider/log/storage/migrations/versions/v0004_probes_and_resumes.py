"""When a destination that is down was last tried, and whether a person has resumed it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

instant = sa.DateTime(timezone=True).with_variant(sa.String(), "sqlite")


def upgrade() -> None:
    """Add columns; one that is down may be tried at once, and none has been resumed."""
    op.add_column("zbl_integration", sa.Column("probed_at", instant))
    op.add_column(
        "zbl_integration",
        sa.Column("resumed", sa.Boolean, nullable=False, server_default=sa.false()),
    )
