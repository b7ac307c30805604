//! How events travel between processes: NDJSON.
