//! Settings of PostgreSQL that clients and tools set and that mean nothing here: how much memory a step may take, which
//! plans are liked, how many workers there are. Their values are checked as PostgreSQL checks them, kept and shown.
//!
//! A setting that changes what a statement answers does not belong here: accepting it would be a lie.

use super::table::{Definition, Kind, setting};

const fn accepted(name: &'static str, kind: Kind) -> Definition {
    setting(name, kind, "Accepted for clients that set it.")
}

/// Sorted by name, which are all in lower case (a test holds it to that: look-ups are binary searches). Defaults and ranges
/// are those of PostgreSQL 15.
pub(super) static ACCEPTED: &[Definition] = &[
    accepted("client_connection_check_interval", Kind::Milliseconds("0")),
    accepted("commit_siblings", Kind::Integer(5, 0, 1000)),
    accepted(
        "constraint_exclusion",
        Kind::Word("partition", &["partition", "on", "off"]),
    ),
    accepted("cpu_index_tuple_cost", Kind::Real(0.005, 0.0, f64::MAX)),
    accepted("cpu_operator_cost", Kind::Real(0.0025, 0.0, f64::MAX)),
    accepted("cpu_tuple_cost", Kind::Real(0.01, 0.0, f64::MAX)),
    accepted("cursor_tuple_fraction", Kind::Real(0.1, 0.0, 1.0)),
    accepted("default_statistics_target", Kind::Integer(100, 1, 10000)),
    accepted("default_table_access_method", Kind::Text("heap")),
    accepted("default_tablespace", Kind::Text("")),
    accepted("default_toast_compression", Kind::Word("pglz", &["pglz", "lz4"])),
    accepted("effective_cache_size", Kind::Memory("4GB", 8, 1, 2_147_483_647)),
    accepted("effective_io_concurrency", Kind::Integer(1, 0, 1000)),
    accepted("enable_async_append", Kind::Bool("on")),
    accepted("enable_bitmapscan", Kind::Bool("on")),
    accepted("enable_gathermerge", Kind::Bool("on")),
    accepted("enable_hashagg", Kind::Bool("on")),
    accepted("enable_hashjoin", Kind::Bool("on")),
    accepted("enable_incremental_sort", Kind::Bool("on")),
    accepted("enable_indexonlyscan", Kind::Bool("on")),
    accepted("enable_indexscan", Kind::Bool("on")),
    accepted("enable_material", Kind::Bool("on")),
    accepted("enable_memoize", Kind::Bool("on")),
    accepted("enable_mergejoin", Kind::Bool("on")),
    accepted("enable_nestloop", Kind::Bool("on")),
    accepted("enable_parallel_append", Kind::Bool("on")),
    accepted("enable_parallel_hash", Kind::Bool("on")),
    accepted("enable_partition_pruning", Kind::Bool("on")),
    accepted("enable_partitionwise_aggregate", Kind::Bool("off")),
    accepted("enable_partitionwise_join", Kind::Bool("off")),
    accepted("enable_seqscan", Kind::Bool("on")),
    accepted("enable_sort", Kind::Bool("on")),
    accepted("enable_tidscan", Kind::Bool("on")),
    accepted("from_collapse_limit", Kind::Integer(8, 1, 2_147_483_647)),
    accepted("geqo", Kind::Bool("on")),
    accepted("geqo_effort", Kind::Integer(5, 1, 10)),
    accepted("geqo_threshold", Kind::Integer(12, 2, 2_147_483_647)),
    accepted("gin_pending_list_limit", Kind::Memory("4MB", 1, 64, 2_147_483_647)),
    accepted("hash_mem_multiplier", Kind::Real(2.0, 1.0, 1000.0)),
    accepted("idle_session_timeout", Kind::Milliseconds("0")),
    accepted("jit", Kind::Bool("on")),
    accepted("jit_above_cost", Kind::Real(100000.0, -1.0, f64::MAX)),
    accepted("jit_inline_above_cost", Kind::Real(500000.0, -1.0, f64::MAX)),
    accepted("jit_optimize_above_cost", Kind::Real(500000.0, -1.0, f64::MAX)),
    accepted("join_collapse_limit", Kind::Integer(8, 1, 2_147_483_647)),
    accepted("logical_decoding_work_mem", Kind::Memory("64MB", 1, 64, 2_147_483_647)),
    accepted("maintenance_io_concurrency", Kind::Integer(10, 0, 1000)),
    accepted("maintenance_work_mem", Kind::Memory("64MB", 1, 1024, 2_147_483_647)),
    accepted("max_parallel_maintenance_workers", Kind::Integer(2, 0, 1024)),
    accepted("max_parallel_workers", Kind::Integer(8, 0, 1024)),
    accepted("max_parallel_workers_per_gather", Kind::Integer(2, 0, 1024)),
    accepted("min_parallel_index_scan_size", Kind::Memory("512kB", 8, 0, 715_827_882)),
    accepted("min_parallel_table_scan_size", Kind::Memory("8MB", 8, 0, 715_827_882)),
    accepted("parallel_leader_participation", Kind::Bool("on")),
    accepted("parallel_setup_cost", Kind::Real(1000.0, 0.0, f64::MAX)),
    accepted("parallel_tuple_cost", Kind::Real(0.1, 0.0, f64::MAX)),
    accepted(
        "plan_cache_mode",
        Kind::Word("auto", &["auto", "force_generic_plan", "force_custom_plan"]),
    ),
    accepted("quote_all_identifiers", Kind::Bool("off")),
    accepted("random_page_cost", Kind::Real(4.0, 0.0, f64::MAX)),
    accepted("recursive_worktable_factor", Kind::Real(10.0, 0.001, 1e6)),
    accepted("seq_page_cost", Kind::Real(1.0, 0.0, f64::MAX)),
    accepted(
        "stats_fetch_consistency",
        Kind::Word("cache", &["none", "cache", "snapshot"]),
    ),
    accepted("synchronize_seqscans", Kind::Bool("on")),
    accepted("tcp_user_timeout", Kind::Milliseconds("0")),
    accepted("temp_buffers", Kind::Memory("8MB", 8, 100, 1_073_741_823)),
    accepted("temp_tablespaces", Kind::Text("")),
    accepted("work_mem", Kind::Memory("4MB", 1, 64, 2_147_483_647)),
    accepted("xmlbinary", Kind::Word("base64", &["base64", "hex"])),
];
