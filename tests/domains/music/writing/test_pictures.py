import matplotlib
import numpy as np
import pytest

from ostinato.domains.music.writing.pictures import picture
from ostinato.errors import UserError


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf", "PNG"])
@pytest.mark.parametrize("length", [1, 40, 3000])
def test_pictures_of_any_length(tmp_path, suffix, length):
    frames = np.resize(np.eye(88), (length, 88))
    path = tmp_path / f"a.{suffix}"
    picture(frames, path, title="a $strange_title")
    assert path.stat().st_size > 1000


def test_silence_has_a_picture(tmp_path):
    picture(np.zeros((8, 88)), tmp_path / "a.png")
    picture(np.zeros((0, 88)), tmp_path / "b.png")


def test_same_frames_same_bytes_and_the_users_backend_is_left_alone(tmp_path):
    backend = matplotlib.get_backend(auto_select=False) if matplotlib.__version_info__ >= (3, 10) else None
    picture(np.eye(88), tmp_path / "a.png")
    picture(np.eye(88), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    if backend is not None:
        assert matplotlib.get_backend(auto_select=False) == backend


def test_unknown_format(tmp_path):
    with pytest.raises(UserError, match=r"ending in \.png, \.svg, \.pdf, found a\.jpeg"):
        picture(np.eye(88), tmp_path / "a.jpeg")
