"""Scheduled monitoring: archives of many fields that a job keeps up to date for years.

`fields` reads the job's TOML file, `runner` runs it, `field_run` does the work for one field, and
`executors` decide where that work happens. What a run did is told as events, one JSON object a
line on stdout. Every event has ``schema`` (1), ``event``, ``at`` (ISO 8601, UTC) and ``run`` (an id
shared by the events of one run); the others depend on the event:

=================  =================================================================================
event              further keys
=================  =================================================================================
run_started        config, archives, fields (how many), today, executor, workers, dry_run
field_started      field
frame_appended     field, time, bytes, clear_share, late (older than a date that was there), and
                   product_id, baseline where the source names them
frame_superseded   field, time, bytes, and product_id, baseline: the version that stays on record;
                   by: the same keys of the new one, which has a frame_appended of its own
frame_missing      field, time, product_id, baseline; error (class name) and message, null where the
                   source does not tell: it was listed, but not delivered; the next run tries again
frame_refused      field, time, product_id, baseline, error, message, at, runs (that it failed in):
                   it is not asked for again, unless its product or baseline change, or a run is
                   told to (``--retry-refused``)
frame_planned      field, time, and product_id, baseline (dry runs only)
field_done         field, status (written, appended, unchanged or planned), path, frames_added,
                   frames_superseded, frames_planned, frames_missing (listed by the source, but not
                   delivered), frames_refused (listed, but not asked for again), frames_total,
                   bytes_before, bytes_after, last_date, requests, pu (null where the source does
                   not count), estimate, seconds, warnings
field_failed       field, error (class name), message, exit_code, temporary; and what was done
                   before: the keys of field_done but status
field_deferred     field, reason (budget or stopped); and what was done before, if it was begun
run_done           fields, done, failed, deferred, written, appended, unchanged, planned,
                   frames_added, frames_superseded, frames_planned, frames_missing, frames_refused,
                   bytes_added, requests, pu, seconds, stopped (null, SIGTERM or SIGINT), exit_code
=================  =================================================================================

``schema`` is raised when a key changes its meaning or goes away; readers must ignore keys and
events that they do not know.
"""
