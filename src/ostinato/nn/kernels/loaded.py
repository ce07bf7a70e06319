"""The extension of the kernels, or why there is none."""

from torch import Tensor  # before the extension, which borrows torch's thread pool

try:
    from ostinato.nn.kernels import _native as extension
except ImportError as error:
    extension = None  # type: ignore[assignment]
    missing = f"the extension is not built: {error}"
else:
    missing = ""

_HUGE = 4 << 20  # bytes from which a fresh tensor is asked to live on huge pages


def empty(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A fresh tensor; a large one on huge pages, since touching it first is otherwise a fault per 4 KiB."""
    fresh = like.new_empty(*shape)
    if fresh.nbytes >= _HUGE:
        extension.prefer_huge_pages(fresh.data_ptr(), fresh.nbytes)
    return fresh
