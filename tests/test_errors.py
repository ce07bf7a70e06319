import importlib
import pickle

import pytest

from ostinato.cli.spelling import forget_options, spelled
from ostinato.domains.music.reading import pieces
from ostinato.errors import MissingExtra, UserError, argument, call, check_installed, needs


def test_a_user_error_is_a_value_error_and_reads_as_plain_text() -> None:
    error = UserError(f"expected {argument('leak_low')} <= {argument('leak_high')}")
    assert isinstance(error, ValueError)
    assert str(error) == "expected leak_low <= leak_high"
    assert error.args == ("expected leak_low <= leak_high",)


def test_only_what_is_marked_is_renamed() -> None:
    error = UserError(f"expected {argument('seed')} of at least 0, found 'seed' in runs/seed/seed.toml")
    assert error.naming(str.upper) == "expected SEED of at least 0, found 'seed' in runs/seed/seed.toml"


def test_it_can_be_sent_between_processes() -> None:
    error = pickle.loads(pickle.dumps(UserError(f"expected {argument('seed')}")))
    assert (type(error), str(error)) == (UserError, "expected seed")


def test_a_call_is_pythons_in_python_and_a_command_on_the_command_line():
    forget_options()  # of a command that ran in this process before
    error = UserError(f"go on with {call('train', resume='my runs/a=b', epochs=3)}; {argument('seed')}")
    assert str(error) == "go on with ostinato.train(resume='my runs/a=b', epochs='3'); seed"
    assert spelled(error) == "go on with ostinato train --resume 'my runs/a=b' --epochs 3; seed"


def test_a_missing_extra_is_an_import_error_too_and_says_what_to_install() -> None:
    with pytest.raises(ImportError) as found, needs("report"):
        importlib.import_module("no_such_library.part")
    assert str(found.value) == (
        "the extra [report] is missing (no_such_library); pip install 'ostinato[report]'"
    )
    assert isinstance(found.value, UserError)
    again = pickle.loads(pickle.dumps(found.value))
    assert (type(again), str(again)) == (MissingExtra, str(found.value))


def test_a_library_that_is_there_but_broken_is_not_called_missing() -> None:
    with (
        pytest.raises(
            MissingExtra, match=r"the extra \[postgres\] cannot be used \(no pq wrapper\); pip inst"
        ),
        needs("postgres"),
    ):
        raise ImportError("no pq wrapper")


def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), needs("report"):
        raise KeyError("a")
    check_installed("report", "json", "json.decoder")


def test_a_missing_extra_is_no_fault_of_the_file(tmp_path, monkeypatch) -> None:
    def read(path, how):
        check_installed("music", "no_such_library")

    monkeypatch.setattr(pieces, "one_of", read)
    with pytest.raises(MissingExtra, match=r"^the extra"):
        pieces.read_piece(tmp_path / "song.mid")
