"""Splines and other interpolators, which are for one version of scipy."""

import numpy as np
import pytest
import scipy
from helpers import roundtrip, run_python
from scipy import interpolate

from oobcodec.errors import DecodeError
from oobcodec.reducers.scipy_interpolate import rebuild_interpolator, register
from oobcodec.registry import DEFAULT

register()


class Slope(interpolate.PPoly):
    """A spline of the user's."""


X = np.arange(8.0)
INTERPOLATORS = {
    "cubic": lambda: interpolate.CubicSpline(X, X**2),
    "b-spline": lambda: interpolate.make_interp_spline(X, X**2),
    "on a grid": lambda: interpolate.RegularGridInterpolator((X,), X**2),
    "one-dimensional": lambda: interpolate.interp1d(X, X**2),
    "of the user": lambda: Slope(np.ones((2, 7)), X),
    "by radial functions": lambda: interpolate.RBFInterpolator(X[:, None], X**2),
}


@pytest.mark.parametrize("make", INTERPOLATORS.values(), ids=INTERPOLATORS)
def test_interpolator_is_of_one_version(make):
    one = make()
    got = roundtrip(one)
    assert type(got) is type(one)
    at = np.array([[0.5], [3.25]])
    np.testing.assert_array_equal(got(at), one(at))
    function, arguments, *_ = DEFAULT.table[type(one)](one)
    assert (function, arguments) == (rebuild_interpolator, (type(one), scipy.__version__))
    text = rf"a {type(one).__name__} of scipy 1\.2\.3 consists of what scipy {scipy.__version__} does not know"
    with pytest.raises(DecodeError, match=text):
        rebuild_interpolator(type(one), "1.2.3")


def test_is_known_when_it_is_imported_late():
    code = """
        import sys
        import scipy.sparse
        import oobcodec

        oobcodec.dumps(scipy.sparse.coo_array((1, 1)))
        assert "scipy.interpolate" not in sys.modules

        from scipy.interpolate import CubicSpline

        frames = oobcodec.dumps(CubicSpline([0.0, 1.0, 2.0], [0.0, 1.0, 4.0]))
        assert b"rebuild_interpolator" in bytes(frames[1])
    """
    run_python(code)
