import os
import signal
import time

import pytest

from ostinato.training.stopping import stop_signals


def test_the_first_is_a_request_and_the_second_a_keyboard_interrupt():
    with stop_signals(signal.SIGINT) as asked:
        assert asked() == 0
        os.kill(os.getpid(), signal.SIGINT)
        assert asked() == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# A call of many seconds, in which Python has no turn, as inside a large segment.
LONG = """
    import hashlib, signal, time
    from ostinato.cli.stopping import saying
    from ostinato.training.stopping import stop_signals
    with stop_signals(ends=saying("ostinato train --resume runs/a")) as asked:
        print("ready", flush=True)
        hashlib.pbkdf2_hmac("sha256", b"a", b"b", 30_000_000)
        print("too late", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_in_the_middle_of_a_long_call_both_are_answered_at_once(in_a_process, number):
    with in_a_process(LONG) as other:
        assert other.stdout.readline() == "ready\n"
        other.send_signal(number)
        assert other.stdout.readline() == "\n"
        assert other.stdout.readline().startswith("stopping at the end of this step")
        begin = time.monotonic()
        other.send_signal(number)
        rest = other.communicate()[0]
        took = time.monotonic() - begin
    assert other.returncode == 128 + number
    assert "continue with: ostinato train --resume runs/a" in rest
    assert "too late" not in rest
    assert took < 10  # the call alone would take longer


def test_others_signals_end_nothing(in_a_process):
    code = """
        import os, signal, time
        from ostinato.training.stopping import stop_signals
        signal.signal(signal.SIGUSR1, lambda *_: None)
        with stop_signals(ends=lambda number, last: print(number, last, flush=True)) as asked:
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGUSR1)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)
        print(asked(), "done")
    """
    with in_a_process(code) as other:
        assert other.communicate()[0].splitlines() == ["2 False", "2 done"]
