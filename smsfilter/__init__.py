"""smsfilter: a message-filtering daemon in the SMPP path.

`smpp` and `rules` are pure (bytes and values in, values out); `store` speaks to Redis; `proxy`
is the SMS path; `cli` starts programs and tools. A file imports only from lower levels or its
own folder, which `tests/test_layers.py` holds.
"""

__version__ = "0.1.0"
