"""Leads come from MySQL and MariaDB, whatever client reads them (Contract 4.2, 4.9 and 6.5)."""

from __future__ import annotations

from itertools import islice

import pytest

from benchmarks.reading import measure
from tests.mariadb.conftest import connection_of
from tests.support.type_table import check as check_types
from zbl_provider.dispatch.intake import Unreadable, check_columns, read
from zbl_provider.exceptions import ConfigurationError, LeadsDatabaseError
from zbl_provider.hooks.rows import Rows
from zbl_provider.leads.filters import Filters
from zbl_provider.leads.payload import document

ROWS = 3000


def _read(leads, sql, parameters=None):
    return list(read(Rows(leads, sql, parameters), None))


@pytest.fixture
def table(execute):
    """Make a table of every type that a lead may have, with one row."""
    execute(
        "DROP TABLE IF EXISTS kinds",
        "CREATE TABLE kinds (id BIGINT UNSIGNED, score DECIMAL(6,2), email_valid TINYINT(1), "
        "ip_vpn BIT(1), city VARCHAR(50), code VARCHAR(50) COLLATE utf8mb4_bin, "
        "old VARCHAR(50) CHARACTER SET latin1, note CHAR(10), custom_fields JSON, "
        "created_at DATETIME(6), qualified_at TIMESTAMP NULL, born DATE, took TIME, raw BLOB, "
        "vip TINYINT(1), level ENUM('a', 'b'), seen YEAR)",
        "INSERT INTO kinds VALUES (18446744073709551615, 85.5, 1, b'0', 'São \U0001f600', 'São', "
        "'São', 'ab', '{\"plan\": \"pro\"}', '2026-02-23 14:30:02.9', '2026-02-23 14:30:02', "
        "'1990-01-31', '-100:00:01', x'00ff', 1, 'b', 2026)",
    )


def test_every_type_arrives_as_its_json_form(leads, table):
    """Text, numbers, booleans, JSON and times mean the same through each client (2.2, 4.2)."""
    (lead,) = _read(leads, "SELECT * FROM kinds")
    assert lead.id == "18446744073709551615"
    assert lead.score == 85.5
    assert lead.verifications["email_valid"] is True
    assert lead.verifications["ip_vpn"] is False
    assert lead.created_at == "2026-02-23T14:30:02Z"
    assert lead.custom_fields == {
        "plan": "pro",
        "city": "São \U0001f600",
        "code": "São",
        "old": "São",
        "note": "ab",
        "born": "1990-01-31",
        "took": -360001,
        "raw": "AP8=",
        "vip": 1,
        "level": "b",
        "seen": 2026,
    }


def test_an_instant_stays_that_instant(leads, table):
    """A TIMESTAMP written at 14:30:02-03:00 is 17:30:02Z, whatever the server's zone is (6.5)."""
    (lead,) = _read(leads, "SELECT id, qualified_at FROM kinds")
    assert lead.qualified_at == "2026-02-23T17:30:02Z"


def test_a_custom_field_of_tinyint_equals_true(leads, table):
    """MySQL has no booleans: 1 is true to a filter (5.3)."""
    (lead,) = _read(leads, "SELECT id, vip FROM kinds")
    assert Filters.parse(field_filters=["VIP equals true"]).reason(document(lead)) is None


def test_bits_are_a_number(leads, execute):
    """BIT(1) is the boolean of many a program: its filter holds, and a wider one is its number."""
    execute(
        "DROP TABLE IF EXISTS bits",
        "CREATE TABLE bits (id INT, vip BIT(1), flags BIT(12))",
        "INSERT INTO bits VALUES (1, b'1', b'100000000001'), (2, NULL, NULL)",
    )
    lead, empty = _read(leads, "SELECT * FROM bits ORDER BY id")
    assert lead.custom_fields == {"vip": 1, "flags": 2049}
    assert empty.custom_fields == {"vip": None, "flags": None}
    assert Filters.parse(field_filters=["vip equals true"]).reason(document(lead)) is None


def test_a_day_that_is_none_makes_its_row_invalid(leads, execute):
    """2026-02-00 makes its own row invalid, named by column; 0000-00-00 is no date (4.9)."""
    execute(
        "DROP TABLE IF EXISTS days",
        "CREATE TABLE days (id INT, qualified_at DATETIME, born DATE)",
        "INSERT INTO days VALUES (1, '2026-02-01', '2026-02-01'), (2, '2026-02-00', NULL), "
        "(3, NULL, '2026-00-00'), (4, '0000-00-00', '2026-02-01')",
    )
    rows = _read(leads, "SELECT * FROM days ORDER BY id")
    assert [lead.id for lead in rows] == ["1", "2", "3", "4"]
    assert isinstance(rows[1], Unreadable)
    assert str(rows[1].problem).startswith("lead.qualified_at must be")
    assert rows[3].qualified_at is None


def test_what_comes_before_the_query_is_no_result(leads, table, request):
    """The first result that has columns counts (4.9)."""
    if request.node.callspec.params["leads"] == "pymysql":
        pytest.skip("PyMySQL takes one statement at a time")
    rows = _read(leads, "SET @least = 80; SELECT id FROM kinds WHERE score > @least")
    assert len(rows) == 1


def test_a_procedure_that_gives_rows_is_read(leads, table, execute):
    """CALL gives leads on MySQL, and the end of its results disturbs nothing (4.9)."""
    execute(
        "DROP PROCEDURE IF EXISTS qualified", "CREATE PROCEDURE qualified() SELECT id FROM kinds"
    )
    assert len(_read(leads, "CALL qualified()")) == 1


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("UPDATE kinds SET score = 1", "changes rows"),
        ("INSERT INTO kinds (id) VALUES (1) RETURNING *", "changes rows"),
        ("SET @least = 80", "gives no columns"),
        ("DO 1", "gives no columns"),
    ],
)
def test_a_statement_that_finds_nothing_is_refused(leads, table, sql, said):
    """No task is green for a statement that is no query (4.9)."""
    with pytest.raises(ConfigurationError, match=f"sql: .*{said}"):
        list(Rows(leads, sql))


def test_the_columns_of_an_empty_result_are_checked(leads, table):
    """A field_map that names no column is refused, even where no row is found (4.2)."""

    def check(columns):
        check_columns({"mail": "email"}, columns)

    with pytest.raises(ConfigurationError, match="field_map: there is no column 'mail'"):
        list(Rows(leads, "SELECT id FROM kinds WHERE 1 = 0", None, check))


def test_a_query_that_is_left_in_the_middle_is_closed(leads, execute):
    """A sensor that has seen enough stops without an error, and may ask again (8.1)."""
    for _ in range(2):
        rows = iter(Rows(leads, f"SELECT seq AS id FROM seq_1_to_{ROWS}"))
        assert len(list(islice(rows, 5))) == 5
        rows.close()


def test_values_are_bound(leads, table):
    """A parameter is a value, and a percent sign in a query without parameters is itself (7.4)."""
    assert len(_read(leads, "SELECT id FROM kinds WHERE city = %s", ("São \U0001f600",))) == 1
    assert len(_read(leads, "SELECT id FROM kinds WHERE city LIKE 'S%'")) == 1


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT id FROM leadz", r"\(1146\b.*\): Table 'leads\.leadz' doesn't exist"),
        ("SELECT idd FROM kinds", r"\(1054\b.*\): Unknown column 'idd' in "),
        ("SELEC id FROM kinds", r"\(1064\b.*\): You have an error in your SQL syntax"),
    ],
)
def test_an_error_keeps_its_meaning(leads, table, sql, said):
    """The server's own words and number are told (4.3)."""
    with pytest.raises(LeadsDatabaseError, match=said):
        list(Rows(leads, sql))


def test_an_error_in_a_row_tells_no_value(leads, table):
    """What a row holds is replaced (4.3)."""
    with pytest.raises(LeadsDatabaseError) as caught:
        list(Rows(leads, "SELECT id, EXTRACTVALUE('<a/>', CONCAT('~', city)) AS x FROM kinds"))
    assert "São" not in str(caught.value)


@pytest.mark.timeout(600)
def test_a_result_is_streamed(leads, mariadb, request):
    """300,000 rows take hardly more memory than 3,000 (4.2, 6.5)."""
    connection = connection_of(request.node.callspec.params["leads"], mariadb)
    few, many = (
        measure(connection, f"SELECT seq AS id, REPEAT('x', 300) AS note FROM seq_1_to_{rows}")
        for rows in (ROWS, 100 * ROWS)
    )
    assert many.rows == 100 * ROWS
    assert many.peak - few.peak < 40


def test_types(leads, request):
    """The page's tables of MySQL and MariaDB are what arrives (2.2)."""
    client = request.node.callspec.params["leads"]
    if client not in {"mysqlclient", "mysql-connector-python"}:
        pytest.skip("the page has no table of this client")
    values = (
        "CAST(18446744073709551615 AS UNSIGNED)",
        "CAST(85.5 AS DECIMAL(5,2))",
        "0.1e0",
        "TRUE",
        "b'1'",
        "'São'",
        "JSON_OBJECT('k', 1)",
        "TIMESTAMP '2026-02-23 14:30:02'",
        "DATE '2026-02-23'",
        "TIME '14:30:02'",
        "x'00ff'",
    )
    check_types(client, leads, values)
