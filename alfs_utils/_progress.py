"""A progress bar: tqdm's where tqdm is installed and the bar is wanted, else none."""

import sys
import warnings


def progress_bar(wanted: bool | None, **options):
    """A bar to be used in a `with` statement; `options` are tqdm's.

    Parameters
    ----------
    wanted : bool or None
        None: if standard error is a terminal.
    """
    if wanted is None:
        wanted = sys.stderr.isatty()
    try:
        if wanted:
            with warnings.catch_warnings():  # without ipywidgets it warns, and draws in text
                warnings.simplefilter("ignore")
                from tqdm.auto import tqdm

            return tqdm(dynamic_ncols=True, **options)
    except ImportError:
        pass
    return _NoBar()


class _NoBar:
    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def update(self, n=1):
        pass

    def set_postfix(self, shown, refresh=True):
        pass

    def write(self, text, file=None):
        print(text, file=file, flush=True)
