"""By which a person is found: a keyed hash of each lead's email, and the salt of its keys."""

from __future__ import annotations

import os

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

hashed = sa.text("email_hash IS NOT NULL")


def upgrade() -> None:
    """Add what is new; leads of before get their hash by `airflow zbl log rotate-keys`."""
    salt = op.create_table(
        "zbl_salt",
        sa.Column("purpose", sa.String, primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
    )
    # Here, so that whoever opens the log finds the one that all others have.
    op.bulk_insert(salt, [{"purpose": "email", "value": os.urandom(32)}])
    op.add_column("zbl_delivery", sa.Column("email_hash", sa.BigInteger))
    op.create_index(
        "zbl_delivery_email",
        "zbl_delivery",
        ["email_hash"],
        postgresql_where=hashed,
        sqlite_where=hashed,
    )
