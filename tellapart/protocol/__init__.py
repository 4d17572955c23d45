"""How parts are judged: one file a protocol, each comparing a part with its own baseline on data of a known name.

A protocol is a module with

    def run(spec: dict, data: str, seed: int) -> dict[str, tuple[float, float]]

which gives, for one data set and one seed, {metric: (baseline, variant)}. Both may also be arrays with one value a
query, in the same order. `spec` is `evidence/NAME.toml` as a dict: `part` and `baseline` (specs for `make`), `options`
(of the protocol), `data`, `seeds`, `claim`.

The module may name in `LOWER_IS_BETTER` (a tuple of texts) the metrics of which less is better, by how their names
begin, such as `("seconds", "perplexity")`; and with `SAME_QUERIES = True` say that every seed is asked the same queries
in the same order, so that the interval is taken over seeds and queries and not over seeds alone.

What is tuned is tuned on validation data, for part and baseline alike; test data are looked at once. All randomness
comes from `seed`. `tellapart evidence NAME` runs it (`tellapart.evidence`). Files that begin with `_` hold what several
protocols share.
"""
