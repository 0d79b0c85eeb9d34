//! Commits, refs, working sets, schemas and rows: Git for tables.
