"""`make bench`: what a piece of work costs us, a package that others would take, and the limit.

    __main__.py   the command: which benchmarks, how often, at what scale
    load.py, transform.py, disaggregation.py, push.py    one benchmark each: ours, the limit
    push_latency.py, push_acks.py, push_memory.py    answers that take 40 ms; the disk; 1 M packets
    push_input.py    packets, where they go, and what came of them
    push_vendor.py    the vendor's own clients, when WATTICS_CLIENTS names their folder
    load_peers.py, transform_peers.py, ...    what others would take
    transform_input.py    readings with faults and changes of the clock, and their true energy
    transform_agreement.py    do all engines find the same days and trends?
    measure.py    one contender in a fresh process: CPU time, wall time, memory
    serving.py    the servers, in processes of their own: their CPU time is nobody's
    serving_collector.py    the collector among them
    report.py     medians, ratios, the table and the JSON file

CPU seconds and ratios of one run are what counts: the machine is not ours alone. No test asserts a
time.
"""

# First of all, as in every entry point: it says how much memory Polars keeps, before that starts.
import energy_etl  # noqa: F401
