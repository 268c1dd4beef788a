import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harken.data import stored
from harken.data.stored import Store
from harken.errors import DataError


@given(st.lists(st.lists(st.integers(0, 255), max_size=9), max_size=9), st.sampled_from([0, 10, 2**20]))
def test_what_was_added_comes_back_wherever_it_lies(arrays, limit):
    with pytest.MonkeyPatch.context() as patch, Store("int32") as store:
        patch.setattr(stored, "_IN_MEMORY", limit)
        for array in arrays:
            store.append(np.array(array, dtype=np.int64))
        found = store.tensor(sum(map(len, arrays)))
    assert found.dtype == torch.int32
    assert found.tolist() == [value for array in arrays for value in array]


def test_a_shape_of_many_axes_and_a_tensor_that_may_be_written_to(monkeypatch):
    monkeypatch.setattr(stored, "_IN_MEMORY", 5)
    with Store(np.float32) as store:
        store.append(np.ones((2, 3)))
        store.append(np.zeros((1, 3))[:, ::-1])
        found = store.tensor(3, 3)
    found[0, 0] = 7
    assert found.tolist() == [[7, 1, 1], [1, 1, 1], [0, 0, 0]]


def test_no_room_for_the_temporary_file(monkeypatch):
    class Full:
        def write(self, content):
            raise OSError(28, "No space left on device")

        def close(self):
            pass

    monkeypatch.setattr("tempfile.SpooledTemporaryFile", lambda size: Full())
    said = r"takes no more \(No space left on device\): make room, or name another with TM"
    with Store(np.float32) as store, pytest.raises(DataError, match=said):
        store.append(np.zeros(3))
