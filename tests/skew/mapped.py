"""What arrives as something else than the receiver would make of the same line, as the documentation says."""

import warnings
import zoneinfo
from functools import partial


def mapped(key, sender):
    """Return what a case from a sender with these versions may arrive as, in a list: an empty one if as itself only."""
    library, name = key
    makers = {"pandas": _pandas, "polars": _polars, "xarray": _xarray}.get(library, lambda _: {})(sender)
    return [makers[name]()] if name in makers else []


def _pandas(sender):
    import numpy as np
    import pandas as pd
    from conformance.cases_pandas import TEXTS, N, _labels, _strings, _zoned

    new = sender["pandas"] >= "3"
    nothing = [np.nan if i % 9 == 0 else text for i, text in enumerate(TEXTS)]
    times = pd.date_range("2024", periods=N, freq="s").as_unit("us" if new else "ns")

    def objects(**columns):
        return pd.DataFrame(columns).set_axis(_labels(list(columns)), axis=1)

    return {
        "by default, labels and strings": lambda: objects(text=_strings(object), n=range(len(TEXTS))),
        "by default, times": lambda: objects(t=times),
        "categorical by default": lambda: pd.Series(pd.Categorical(["a", "b", None], _labels(["a", "b"]))),
        "dtypes of strings with NaN": lambda: [np.dtype(object)] * 2,
        "index of strings by default": lambda: _labels(TEXTS),
        "strings by default": lambda: pd.Series(TEXTS, dtype=object),
        "strings by default, missing": lambda: pd.Series(["a", np.nan if new else None, np.nan], dtype=object),
        "strings of Arrow with NaN": lambda: _strings(object, nothing),
        "strings of Python with NaN": lambda: _strings(object, nothing),
        "times in a zone of pytz": lambda: pd.Series(_zoned(zoneinfo.ZoneInfo("Asia/Tokyo"))),
    }


def _polars(sender):
    import polars as pl
    from conformance.cases_polars import _categories

    return {"Categorical, in lexical order": lambda: _categories(pl.Categorical)}


def _xarray(_):
    import pandas as pd
    from conformance.table import cases

    def with_objects(make):
        # What xarray has as numpy's text has the labels of its index from pandas.
        with warnings.catch_warnings(action="ignore"), pd.option_context("future.infer_string", False):  # noqa: FBT003
            return make()

    return {name: partial(with_objects, each.make) for name, each in cases("xarray").items()}
