import pickle

from ostinato.cli.spelling import spelled
from ostinato.errors import UserError, argument, call


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
    error = UserError(f"go on with {call('train', resume='my runs/a=b', epochs=3)}; {argument('seed')}")
    assert str(error) == "go on with ostinato.train(resume='my runs/a=b', epochs='3'); seed"
    assert spelled(error) == "go on with ostinato train --resume 'my runs/a=b' --epochs 3; seed"
