"""Windows of a table in native code, against PyTorch's own operations and a loop."""

import math

import pytest
import torch

from ostinato.nn.kernels import ngrams
from ostinato.nn.kernels.ngrams import GRAIN, add_windows_, decay_windows_, learn_windows_

NATIVE = ngrams._native() is not None


@pytest.fixture(params=["native", "torch"])
def path(request, monkeypatch) -> str:
    if request.param == "native" and not NATIVE:
        pytest.skip("the native windows are not built here")
    if request.param == "torch":
        monkeypatch.setattr(ngrams, "_native", lambda: None)
    return request.param


def problem(rows: int, contexts: int, width: int, size: int, dtype: torch.dtype):
    draws = torch.Generator().manual_seed(rows + width)
    table = torch.randn(size, generator=draws, dtype=dtype)
    places = torch.randint(size - width + 1, (rows, contexts), generator=draws)
    return table, places, torch.randn(rows, width, generator=draws, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (7, 2, 5, 12), (40, 3, 19, 30), (0, 2, 3, 9)])
def test_windows_are_those_of_a_loop(path, dtype, sizes) -> None:
    table, places, rows = problem(*sizes, dtype)
    width = sizes[2]
    wanted, learned = rows.clone(), table.clone()
    for i, own in enumerate(places.tolist()):
        for place in own:
            wanted[i] += table[place : place + width]
            learned[place : place + width] -= 0.1 * rows[i]
    found = add_windows_(rows.clone(), table, places)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(learn_windows_(table.clone(), places, rows, 0.1), learned)


def test_places_outside_of_the_table_are_refused_and_change_nothing(path) -> None:
    for place in (-1, 8):
        table, rows, places = torch.ones(10), torch.ones(1, 3), torch.tensor([[place]])
        with pytest.raises(ValueError, match="places outside of it"):
            add_windows_(rows, table, places)
        with pytest.raises(ValueError, match="places outside of it"):
            learn_windows_(table, places, rows, 1.0)
        assert bool((table == 1).all())
        assert bool((rows == 1).all())


def test_what_the_native_code_cannot_take_goes_to_torch(path) -> None:
    table, places, rows = problem(6, 2, 4, 20, torch.float32)
    strided = rows.repeat(1, 2)[:, :4]
    torch.testing.assert_close(
        add_windows_(strided.clone()[:, :], table, places), add_windows_(rows.clone(), table, places)
    )
    wide = torch.stack((rows, rows), 2)[..., 0]
    assert not wide.is_contiguous()
    one, other = (learn_windows_(table.clone(), places, x, 0.5) for x in (wide, rows))
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (7, 2, 5, 12), (60, 3, 19, 400), (0, 2, 3, 9)])
def test_windows_decay_for_the_time_since_their_cell_was_last_used(path, dtype, sizes) -> None:
    table, places, _ = problem(*sizes, dtype)
    width, size = sizes[2:]
    cells = torch.randint(50, (size // GRAIN + 1,), generator=torch.Generator().manual_seed(1))
    wanted, then = table.double().clone(), cells.clone()
    for place in places.flatten().tolist():
        wanted[place : place + width] *= math.exp(-0.01 * (50 - int(then[place // GRAIN])))
        then[place // GRAIN] = 50
    found = decay_windows_(table.clone(), places, width, cells, 50, 0.01)
    torch.testing.assert_close(found, wanted.to(dtype))
    assert torch.equal(cells, then)
    again = decay_windows_(found.clone(), places, width, cells, 50, 0.01)
    assert torch.equal(again, found)


def test_windows_outside_of_the_table_do_not_decay(path) -> None:
    table, cells = torch.ones(10), torch.zeros(1, dtype=torch.int64)
    with pytest.raises(ValueError, match="places outside of it"):
        decay_windows_(table, torch.tensor([[0, 8]]), 3, cells, 7, 1.0)
    assert bool((table == 1).all())
    assert int(cells) == 0


@pytest.mark.skipif(not NATIVE, reason="the native windows are not built here")
def test_the_cells_are_as_wide_in_both_codes() -> None:
    assert ngrams._native().grain == GRAIN
