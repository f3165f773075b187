"""The condition language: what it selects, and that it executes nothing."""

import numpy as np
import pytest

from vitreous.cli.expressions import rows_where
from vitreous.errors import ConfigError

COLUMNS = {
    "rlnClassNumber": np.array([1, 2, 1, 3]),
    "z1": np.array([-1.5, 0.0, 0.5, 2.0]),
    "rlnMicrographName": np.array(["a.mrc", "b.mrc", "b.mrc", "c.mrc"], dtype=np.dtypes.StringDType()),
}


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("rlnClassNumber == 1", [0, 2]),
        ("_rlnClassNumber != 1", [1, 3]),
        ("z1 > -1.5 and rlnClassNumber < 3", [1, 2]),
        ("z1 <= -1.5 or z1 >= 2", [0, 3]),
        ("-1 < z1 < 1", [1, 2]),
        ("not (rlnClassNumber == 1 or z1 > 1)", [1]),
        ("rlnMicrographName == 'b.mrc'", [1, 2]),
        ("z1 < rlnClassNumber and rlnClassNumber < 3", [0, 1, 2]),
    ],
)
def test_selects(condition, rows):
    assert np.flatnonzero(rows_where(condition, COLUMNS)).tolist() == rows


@pytest.mark.parametrize(
    ("condition", "part"),
    [
        ("rlnClasNumber == 1", "Did you mean rlnClassNumber"),
        ("z1 >", "incomplete"),
        ("z1", "no comparison"),
        ("z1 + 1 > 0", "neither a column"),
        ("__import__('os').system('true') == 0", "neither a column"),
        ("z1.shape == 1", "neither a column"),
        ("z1[0] == 1", "neither a column"),
        ("(lambda: 1)() == 1", "neither a column"),
        ("z1 in (1, 2)", "neither a column"),
        ("z1 is 1", "another comparison"),
        ("rlnMicrographName > 1", "compares text with numbers"),
        ("1 == 1", "names no column"),
        ("z1 == True", "neither a column"),
        ("", "incomplete"),
    ],
)
def test_refuses(condition, part):
    with pytest.raises(ConfigError, match="--where") as error:
        rows_where(condition, COLUMNS)
    assert part in str(error.value)
