import pickle

import pytest

from zbl_provider import exceptions


@pytest.mark.parametrize(
    "kind",
    [
        exceptions.ConfigurationError,
        exceptions.DestinationError,
        exceptions.HeaderError,
        exceptions.SigningSecretError,
        exceptions.FilterError,
        exceptions.ScheduleError,
        exceptions.DeliveryLogError,
    ],
)
def test_a_configuration_error_says_what_to_change(kind):
    """Every configuration error names field, problem and remedy, across processes too (1.3)."""
    error = pickle.loads(pickle.dumps(kind(field="Port", problem="is 0", remedy="Correct it")))
    assert type(error) is kind
    assert (error.field, error.problem, error.remedy) == ("Port", "is 0", "Correct it")
    assert str(error) == "Port: is 0. Correct it"
    assert isinstance(error, exceptions.ZblError)


def test_an_invalid_lead_names_path_and_rule():
    """An invalid lead is told by path and rule, across processes too (Contract 5.5)."""
    error = pickle.loads(pickle.dumps(exceptions.InvalidLead("lead.score", "must be a number")))
    assert (error.path, error.rule) == ("lead.score", "must be a number")
    assert str(error) == "lead.score must be a number"


def test_a_blocked_address_survives_a_process_boundary():
    """A blocked address keeps its address when it is pickled (Contract 7.1)."""
    assert pickle.loads(pickle.dumps(exceptions.BlockedAddress("10.0.0.1"))).address == "10.0.0.1"
