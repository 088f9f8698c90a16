//! What a run leaves on disk: run folder, logs, checkpoints, report.
