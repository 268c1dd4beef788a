from harken.engine import rows
from harken.layers import masks


def test_there_is_one_place_that_makes_masks():
    assert masks.mask_from_lengths is rows.mask_from_lengths
    assert masks.reverse_rows is rows.reverse_rows
