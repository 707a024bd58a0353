"""What the tables of rules of traced functions share: a table of named checks, and functions that count traces."""

import tapejit as tf


class Checks(dict):
    """Checks by the rule that each proves."""

    def __call__(self, text):
        """Enter a check under its rule."""

        def enter(check):
            assert text not in self, text
            self[text] = check
            return check

        return enter


def counted(body=lambda *args, **kwargs: None, **options):
    """A traced function, and the list that gets the arguments of each trace."""
    traces = []

    @tf.function(**options)
    def f(*args, **kwargs):
        traces.append((args, kwargs))
        return body(*args, **kwargs)

    return f, traces


def traces_of(f, *calls):
    """How many traces each call adds."""
    out = []
    for args in calls:
        before = f.experimental_get_tracing_count()
        f(*args) if isinstance(args, tuple) else f(**args)
        out.append(f.experimental_get_tracing_count() - before)
    return out


def one(x):
    return tf.constant(x, tf.float32)
