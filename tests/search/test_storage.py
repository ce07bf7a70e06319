"""The database's failures, and what nobody is to see of its address."""

import pytest

from ostinato import seal
from ostinato.errors import UserError
from ostinato.search import read_study, storage
from ostinato.search.storage import insist, open_database

sqlalchemy = pytest.importorskip("sqlalchemy")


class Clock:
    """Time that passes by sleeping alone."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(storage, "time", made)
    return made


def failing(clock, until):
    def call():
        if clock.now < until:
            cause = ConnectionError("connection refused\n  is the server running?")
            raise sqlalchemy.exc.OperationalError("select 1", {}, cause)
        return "answer"

    return call


def test_an_outage_of_90_seconds_is_waited_out_and_said(clock):
    told = []
    with seal.telling(told.append):
        assert insist(failing(clock, 90)) == "answer"
    assert 90 <= clock.now < 100
    assert told == ["the database fails: connection refused; it is tried again, for 600 seconds at most"]


def test_what_optuna_takes_for_wrong_data_is_told_as_what_it_was(clock):
    from optuna.exceptions import StorageInternalError

    def call():
        try:
            failing(clock, 90)()
        except sqlalchemy.exc.OperationalError as error:
            text = "An exception is raised during the commit. This happens due to invalid data."
            raise StorageInternalError(text) from error
        return "answer"

    told = []
    with seal.telling(told.append):
        assert insist(call) == "answer"
    assert told == ["the database fails: connection refused; it is tried again, for 600 seconds at most"]


def test_a_moments_failure_is_not_told(clock):
    told = []
    with seal.telling(told.append):
        assert insist(failing(clock, 2)) == "answer"
    assert told == []


def test_who_has_waited_long_enough_is_told_how_long_it_was(clock):
    with (
        seal.telling(lambda _: None),
        pytest.raises(UserError, match=r"has failed for (\d+) seconds: connection refused; once") as found,
    ):
        insist(failing(clock, 10_000))
    assert 600 < clock.now < 610
    assert f"{clock.now:.0f} seconds" in str(found.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:S3cr-t@127.0.0.1:1/x",
        "postgresql://127.0.0.1:1/x?user=me&password=S3cr-t",
        "postgresql://127.0.0.1:1/x?user=me&password=a%26S3cr-t",
        "postgresql://127.0.0.1:1/x?no_such_option=S3cr-t",
        "postgresql://127.0.0.1:1/x?port=1&sslpassword=S3cr-t",
        "postgresql://me:S3cr-t/more@127.0.0.1:1/x",
        "mysql://me:S3cr-t@127.0.0.1/x",
    ],
)
def test_a_login_that_fails_shows_no_password(url):
    pytest.importorskip("psycopg")
    with pytest.raises(UserError) as found:
        open_database(url)
    error = found.value
    while error is not None:  # what a traceback would show, too
        assert "S3cr" not in f"{error!r} {error}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


@pytest.mark.parametrize("form", [("--storage", "{}"), ("--storage={}",), ("--storag", "{}"), ("{}",)])
def test_no_mistake_shows_a_password(ostinato, form):
    for address in ("postgresql://me:S3cr-t@127.0.0.1:1/x", "postgresql://h/x?user=me&password=S3cr-t/@"):
        code, out, err = ostinato("search", "--join", "s", *(part.format(address) for part in form))
        assert code == 2
        assert "S3cr" not in out + err


def test_a_study_that_holds_one_of_before_is_read_without_it(data_and_settings, tmp_path):
    from ostinato.report.records import read_study as for_report
    from ostinato.search import create_study
    from ostinato.search.opening import _forget_password

    _, settings = data_and_settings(1)
    study = create_study(tmp_path / "s", settings)
    path = tmp_path / "s" / "study.toml"
    address = "postgresql://h/x?user=me&password=S3cr-t"
    study.write("study.toml", f'storage = "{address}"\n' + path.read_text())
    record = for_report(tmp_path / "s", "s")
    assert "S3cr" not in repr(record)
    told = []
    with seal.telling(told.append):
        _forget_password(study, address)
    assert "S3cr" not in path.read_text()
    assert "held the database's password" in told[0]
    assert read_study(tmp_path / "s")["settings"].trials == 1
